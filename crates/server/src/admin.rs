//! The four-letter words.

use std::rc::Rc;
use std::sync::Arc;

use oxkeeper_config::{Config, FourLetterWhitelist};
use oxkeeper_storage::{DataDir, OsDisk};

use crate::client_port::Door;
use crate::io_thread::IoThread;

/// What does not change while the server runs.
#[derive(Debug)]
pub struct AdminContext {
    whitelist: FourLetterWhitelist,
    #[allow(dead_code)]
    door: Arc<Door>,
}

impl AdminContext {
    /// Takes what the reports need from the configuration.
    pub fn new(config: &Config, _dir: &DataDir<OsDisk>, door: Arc<Door>) -> Self {
        AdminContext { whitelist: config.admin.four_letter_whitelist.clone(), door }
    }
}

/// Answers the words asked since the last turn.
pub fn answer(thread: &Rc<IoThread>) {
    for asked in thread.take_admin() {
        let name = asked.word.name();
        let text = if thread.admin.whitelist.allows(name) {
            match name {
                "ruok" => "imok".to_owned(),
                _ => format!("Zookeeper version: 3.9.5-oxkeeper\nMode: standalone\n"),
            }
        } else {
            format!("{name} is not executed because it is not in the whitelist.\n")
        };
        thread.with(|state| state.front.answer_admin(asked.conn, text));
    }
}
