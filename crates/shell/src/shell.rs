//! The shell itself: one line after the other, with what is kept between them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::tz::TimeZone;
use oxkeeper_client::{Client, Error};

use crate::commands;
use crate::failure::{Failure, Kind};
use crate::flags::Given;
use crate::line;
use crate::options::Options;
use crate::out::{Out, Style};
use crate::session::{Session, Teller};
use crate::table::{self, Id};

/// What a line came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next line.
    Go,
    /// The shell is to end.
    Quit,
}

/// A shell and its session.
pub struct Shell {
    /// Where results go.
    pub out: Out,
    /// What it was started with.
    pub options: Options,
    /// The servers of the session of now.
    pub host: String,
    /// The session, unless it is closed.
    pub session: Option<Session>,
    /// Whether watches that fire are shown.
    pub print_watches: Arc<AtomicBool>,
    /// Lines so far, as they were typed.
    pub history: Vec<String>,
    /// Lines that were executed.
    pub count: usize,
    /// The exit code, as the last command left it.
    pub exit: u8,
    /// Results of this command as JSON.
    pub json: bool,
    /// Where times are told.
    pub zone: TimeZone,
    /// Somebody is at a terminal, and has been greeted.
    pub person: bool,
}

impl Shell {
    /// A shell without a session yet.
    pub fn new(options: Options) -> Shell {
        Shell {
            out: Out::new(),
            host: options.server.clone(),
            json: options.json,
            options,
            session: None,
            print_watches: Arc::new(AtomicBool::new(true)),
            history: Vec::new(),
            count: 0,
            exit: 0,
            zone: TimeZone::system(),
            person: false,
        }
    }

    /// Begins a session with `hosts`, ending the one of now.
    ///
    /// # Errors
    /// If there is no server.
    pub async fn connect(&mut self, hosts: &str) -> Result<(), Failure> {
        self.disconnect().await;
        hosts.clone_into(&mut self.host);
        let teller = Teller::new(&self.out, &self.options, &self.print_watches);
        self.session = Some(Session::begin(hosts, &self.options, teller, !self.person).await?);
        Ok(())
    }

    /// Ends the session.
    pub async fn disconnect(&mut self) {
        if let Some(session) = self.session.take() {
            session.end().await;
        }
    }

    /// What is asked before every line.
    pub fn prompt(&self) -> String {
        let state = self.session.as_ref().map_or("CLOSED", Session::state_name);
        format!("[zk: {}({state}) {}] ", self.host, self.count)
    }

    /// The session.
    ///
    /// # Errors
    /// If there is none.
    pub fn session(&self) -> Result<&Session, Failure> {
        self.session.as_ref().ok_or_else(|| {
            Failure::new(Kind::SessionOver, "Not connected").hint("connect begins a session")
        })
    }

    /// The client.
    ///
    /// # Errors
    /// If there is no session.
    pub fn zk(&self) -> Result<Client, Failure> {
        Ok(self.session()?.zk.clone())
    }

    /// Executes a line as it was typed. An empty one is nothing.
    pub async fn line(&mut self, text: &str) -> Next {
        let words = line::words(text);
        if words.is_empty() {
            return Next::Go;
        }
        self.history.push(text.to_owned());
        let next = self.words(&words).await;
        self.count += 1;
        // What came on the way is told before the next line is asked for.
        tokio::task::yield_now().await;
        next
    }

    /// Executes a command, and tells of its failure.
    pub async fn words(&mut self, words: &[String]) -> Next {
        let usual = self.json;
        let done = self.run(words).await;
        let next = match done {
            // Who leaves, leaves with the code of what came before.
            Ok(Next::Quit) => Next::Quit,
            Ok(Next::Go) => {
                self.exit = 0;
                Next::Go
            }
            Err(failure) => {
                self.fail(&failure);
                Next::Go
            }
        };
        self.json = usual;
        next
    }

    /// Tells of a failure, to people or to programs, and keeps its exit code.
    pub fn fail(&mut self, failure: &Failure) {
        self.exit = failure.kind.exit_code();
        if failure.message.is_empty() {
            return;
        }
        if self.json {
            return self.out.note(failure.json().to_string());
        }
        self.out.note(self.out.styled_note(Style::Error, &failure.message));
        if let Some(hint) = &failure.hint {
            self.out.note(self.out.styled_note(Style::Dim, &format!("  hint: {hint}")));
        }
    }

    /// Executes a command.
    ///
    /// # Errors
    /// Its failure, of which nothing was told yet.
    pub async fn run(&mut self, words: &[String]) -> Result<Next, Failure> {
        let Some((name, rest)) = words.split_first() else { return Ok(Next::Go) };
        let Some(spec) = table::find(name) else {
            let failure = Failure::new(Kind::UnknownCommand, format!("Command not found: {name}"));
            return Err(failure.hint(match table::nearest(name) {
                Some(near) => format!("{near}? help lists all commands"),
                None => "help lists all commands".to_owned(),
            }));
        };
        if spec.session && self.session.is_none() {
            // ZooKeeper's shell says so among its results, and does not call it a failure.
            self.out.line("Not connected");
            return Ok(Next::Go);
        }
        let given = spec.parse(rest)?;
        self.json |= given.has("--json");
        if let Some(path) = given.args.first().filter(|_| spec.paths && spec.id != Id::Import) {
            commands::check_paths(spec, path)?;
        }
        let next = self.dispatch(spec.id, &given).await?;
        if self.session.is_none() && matches!(spec.id, Id::History | Id::PrintWatches | Id::Redo) {
            self.out.line("Not connected");
        }
        Ok(next)
    }

    async fn dispatch(&mut self, id: Id, given: &Given) -> Result<Next, Failure> {
        use commands::{acls, config, quotas, read, sessions, watches, write};
        match id {
            Id::AddAuth => acls::add_auth(self, given).await,
            Id::AddWatch => watches::add(self, given).await,
            Id::Close => sessions::close(self).await,
            Id::Config => config::config(self, given).await,
            Id::Connect => sessions::connect(self, given).await,
            Id::Copy => crate::subtree::copy::cp(self, given).await,
            Id::Create => write::create(self, given).await,
            Id::Delete => write::delete(self, given).await,
            Id::DeleteAll => write::delete_all(self, given).await,
            Id::DelQuota => quotas::delete(self, given).await,
            Id::Diff => crate::subtree::diff::diff(self, given).await,
            Id::Edit => write::edit(self, given).await,
            Id::Export => crate::subtree::export::export(self, given).await,
            Id::Find => crate::subtree::find::find(self, given).await,
            Id::Get => read::get(self, given).await,
            Id::GetAcl => acls::get(self, given).await,
            Id::GetAllChildrenNumber => read::count(self, given).await,
            Id::GetEphemerals => read::ephemerals(self, given).await,
            Id::Help => crate::help::help(self, given),
            Id::History => sessions::history(self),
            Id::Import => crate::subtree::import::import(self, given).await,
            Id::ListQuota => quotas::list(self, given).await,
            Id::Ls => read::ls(self, given).await,
            Id::Move => crate::subtree::copy::mv(self, given).await,
            Id::PrintWatches => sessions::print_watches(self, given),
            Id::Quit => return Ok(Next::Quit),
            Id::Reconfig => config::reconfig(self, given).await,
            Id::Redo => return Box::pin(sessions::redo(self, given)).await,
            Id::RemoveWatches => watches::remove(self, given).await,
            Id::Set => write::set(self, given).await,
            Id::SetAcl => acls::set(self, given).await,
            Id::SetQuota => quotas::set(self, given).await,
            Id::Stat => read::stat(self, given).await,
            Id::Sync => read::sync(self, given).await,
            Id::Top => crate::subtree::top::top(self, given).await,
            Id::Tree => crate::subtree::tree::tree(self, given).await,
            Id::Version => sessions::version(self, given),
            Id::Watch => crate::subtree::follow::watch(self, given).await,
            Id::WhoAmI => acls::who_am_i(self).await,
        }?;
        Ok(Next::Go)
    }
}

/// Turns the client's errors into failures that name the path.
pub trait OnPath<T> {
    /// The failure on this path.
    ///
    /// # Errors
    /// The client's, in the words of ZooKeeper's shell.
    fn on(self, path: &str) -> Result<T, Failure>;
}

impl<T> OnPath<T> for Result<T, Error> {
    fn on(self, path: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::of(&error, path))
    }
}
