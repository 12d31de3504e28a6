//! The commands of ZooKeeper's shell, 3.9.
//!
//! Names, usage lines and what options are called in usages are ZooKeeper's, letter by letter. What
//! we add to a command stands under `more`, and `help` shows it.

use super::{DRY_RUN, Id, PLAIN, Spec};
use crate::flags::{Flag, OneOf};

const QUOTAS: &[&str] = &["-n", "-b", "-N", "-B"];
const FILE: Flag = Flag::with("--file", "file", "data from a file, - for standard input");
const STAT: Flag = Flag::switch("-s", "stats");
const WATCH: Flag = Flag::switch("-w", "watch");

pub(super) const COMMANDS: [Spec; 28] = [
    Spec {
        id: Id::Ls,
        name: "ls",
        args: "[-s] [-w] [-R] path",
        flags: &[
            Flag::switch("-?", "help"),
            Flag::switch("-s", "stat"),
            WATCH,
            Flag::switch("-R", "recurse"),
        ],
        about: "the children of a znode, or its whole subtree",
        examples: &[
            ("ls /", "children of the root"),
            ("ls -s /app", "and the stat"),
            ("ls -R /app", "every path of the subtree"),
            ("ls -w /app", "and say when a child comes or goes"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Stat,
        name: "stat",
        args: "[-w] path",
        flags: &[WATCH],
        least: 1,
        about: "versions, times, owner and sizes of a znode",
        examples: &[("stat /app", "its stat"), ("stat -w /app", "and say when it changes")],
        ..PLAIN
    },
    Spec {
        id: Id::Get,
        name: "get",
        args: "[-s] [-w] [-b] [-x] path",
        flags: &[
            Flag::switch("-s", "Print znode stats additionally"),
            Flag::switch("-w", "Watch for changes on the znode"),
            Flag::switch("-b", "Output data in base64 format"),
            Flag::switch("-x", "Output data in hexdump format"),
        ],
        more: &[Flag::switch("--raw", "the data alone: byte by byte, no line end")],
        least: 1,
        explains: true,
        about: "the data of a znode",
        examples: &[
            ("get /app/config", "as text"),
            ("get -s /app/config", "and the stat"),
            ("get -x /app/blob", "as a table of bytes"),
            ("get --raw /app/blob", "as it is, for a pipe or a file"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Set,
        name: "set",
        args: "path data [-s] [-v version] [-b]",
        flags: &[
            Flag::switch("-s", "Print znode stats additionally"),
            Flag::with("-v", "version", "Set with an expected version"),
            Flag::switch("-b", "Supply data in base64 format"),
        ],
        more: &[FILE, DRY_RUN],
        least: 1,
        explains: true,
        about: "change the data of a znode",
        examples: &[
            ("set /app/config '{\"a\": 1}'", "quotes keep blanks together"),
            ("set -v 3 /app/config new", "only if its version is still 3"),
            ("set --file app.json /app/config", "from a file"),
            ("set /app/n -- -5", "what begins with a dash"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Create,
        name: "create",
        args: "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
        flags: &[
            Flag::switch("-e", "ephemeral"),
            Flag::switch("-s", "sequential"),
            Flag::switch("-c", "container"),
            Flag::with("-t", "ttl", "ttl"),
        ],
        more: &[FILE, Flag::switch("-p", "create missing parents too")],
        least: 1,
        about: "create a znode",
        examples: &[
            ("create /app", "without data"),
            ("create -p /app/a/b data", "with its parents"),
            ("create -e -s /app/worker- data", "gone with this session, name completed"),
            ("create -t 60000 /app/lease x", "removed when unmodified for a minute"),
            ("create /app/secret x auth::cdrwa", "for the identities of addauth alone"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Delete,
        name: "delete",
        args: "[-v version] path",
        flags: &[Flag::with("-v", "version", "version")],
        more: &[DRY_RUN],
        least: 1,
        about: "delete a znode without children",
        examples: &[
            ("delete /app/a", ""),
            ("delete -v 3 /app/a", "only if its version is still 3"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::DeleteAll,
        name: "deleteall",
        args: "path [-b batch size]",
        flags: &[Flag::with("-b", "size", "batch size")],
        more: &[DRY_RUN],
        least: 1,
        about: "delete a znode with everything below",
        examples: &[
            ("deleteall --dry-run /app", "what would go"),
            ("deleteall /app", "away with it"),
            ("deleteall -b 100 /app", "in transactions of 100"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::GetAcl,
        name: "getAcl",
        args: "[-s] path",
        flags: &[STAT],
        least: 1,
        about: "who may do what with a znode",
        examples: &[("getAcl /app", ""), ("getAcl -s /app", "and the stat")],
        ..PLAIN
    },
    Spec {
        id: Id::SetAcl,
        name: "setAcl",
        args: "[-s] [-v version] [-R] path acl",
        flags: &[STAT, Flag::with("-v", "version", "version"), Flag::switch("-R", "recursive")],
        more: &[DRY_RUN],
        least: 2,
        about: "change who may do what with a znode",
        examples: &[
            ("setAcl /app world:anyone:r", "everybody may read"),
            ("setAcl -R /app auth::cdrwa", "this identity alone, the whole subtree"),
            ("setAcl /app ip:10.0.0.0/8:r,auth::cdrwa", "two entries"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::AddAuth,
        name: "addauth",
        args: "scheme auth",
        least: 1,
        paths: false,
        about: "add an identity to this session",
        examples: &[("addauth digest user:password", "")],
        ..PLAIN
    },
    Spec {
        id: Id::WhoAmI,
        name: "whoami",
        paths: false,
        about: "the identities of this session",
        examples: &[("whoami", "")],
        ..PLAIN
    },
    Spec {
        id: Id::Sync,
        name: "sync",
        args: "path",
        least: 1,
        about: "wait until this server has caught up with the leader",
        examples: &[("sync /", "")],
        ..PLAIN
    },
    Spec {
        id: Id::GetEphemerals,
        name: "getEphemerals",
        args: "path",
        about: "ephemeral znodes of this session",
        examples: &[("getEphemerals", "all"), ("getEphemerals /app", "those below a path")],
        ..PLAIN
    },
    Spec {
        id: Id::GetAllChildrenNumber,
        name: "getAllChildrenNumber",
        args: "path",
        least: 1,
        about: "how many znodes are below",
        examples: &[("getAllChildrenNumber /app", "")],
        ..PLAIN
    },
    Spec {
        id: Id::SetQuota,
        name: "setquota",
        args: "-n|-b|-N|-B val path",
        flags: &[
            Flag::with("-n", "count", "num soft quota"),
            Flag::with("-b", "bytes", "bytes soft quota"),
            Flag::with("-N", "count", "num hard quota"),
            Flag::with("-B", "bytes", "bytes hard quota"),
        ],
        more: &[DRY_RUN],
        one_of: Some(OneOf { names: QUOTAS, required: true }),
        least: 1,
        about: "limit how much a subtree may hold",
        examples: &[
            ("setquota -n 1000 /app", "a line in the server's log above 1000 znodes"),
            ("setquota -N 1000 /app", "no more than 1000 znodes"),
            ("setquota -B 1048576 /app", "no more than a mebibyte"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::ListQuota,
        name: "listquota",
        args: "path",
        least: 1,
        about: "the limits of a subtree, and what it holds",
        examples: &[("listquota /app", "")],
        ..PLAIN
    },
    Spec {
        id: Id::DelQuota,
        name: "delquota",
        args: "[-n|-b|-N|-B] path",
        flags: &[
            Flag::switch("-n", "num soft quota"),
            Flag::switch("-b", "bytes soft quota"),
            Flag::switch("-N", "num hard quota"),
            Flag::switch("-B", "bytes hard quota"),
        ],
        more: &[DRY_RUN],
        one_of: Some(OneOf { names: QUOTAS, required: false }),
        least: 1,
        about: "lift the limits of a subtree",
        examples: &[("delquota /app", "all of them"), ("delquota -N /app", "the hard count")],
        ..PLAIN
    },
    Spec {
        id: Id::AddWatch,
        name: "addWatch",
        args: "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - \
               default is PERSISTENT_RECURSIVE",
        flags: &[Flag::with("-m", "mode", "")],
        about: "be told of every change, until removewatches",
        examples: &[
            ("addWatch /app", "the whole subtree"),
            ("addWatch -m PERSISTENT /app", "the znode and its children"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::RemoveWatches,
        name: "removewatches",
        args: "path [-c|-d|-a] [-l]",
        flags: &[
            Flag::switch("-c", "child watcher type"),
            Flag::switch("-d", "data watcher type"),
            Flag::switch("-p", "persistent watcher type"),
            Flag::switch("-r", "persistent recursive watcher type"),
            Flag::switch("-a", "any watcher type"),
            Flag::switch("-l", "remove locally when there is no server connection"),
        ],
        least: 1,
        about: "remove watches of this session",
        examples: &[("removewatches /app", "all on this path"), ("removewatches /app -r", "")],
        ..PLAIN
    },
    Spec {
        id: Id::PrintWatches,
        name: "printwatches",
        args: "on|off",
        session: false,
        paths: false,
        about: "whether watches that fire are shown",
        examples: &[("printwatches off", "")],
        ..PLAIN
    },
    Spec {
        id: Id::Config,
        name: "config",
        args: "[-c] [-w] [-s]",
        flags: &[STAT, WATCH, Flag::switch("-c", "client connection string")],
        paths: false,
        about: "the members of the ensemble",
        examples: &[("config", ""), ("config -c", "version and connect string of the clients")],
        ..PLAIN
    },
    Spec {
        id: Id::Reconfig,
        name: "reconfig",
        args: "[-s] [-v version] [[-file path] | \
               [-members serverID=host:port1:port2;port3[,...]*]] | \
               [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
        flags: &[
            STAT,
            Flag::with("-v", "version", "required current config version"),
            Flag::with("-file", "path", "path of config file to parse for membership"),
            Flag::with(
                "-members",
                "list",
                "comma-separated list of config strings for non-incremental reconfig",
            ),
            Flag::with("-add", "list", "comma-separated list of config strings for new servers"),
            Flag::with("-remove", "ids", "comma-separated list of server IDs to remove"),
        ],
        more: &[DRY_RUN],
        paths: false,
        about: "change the members of the ensemble",
        examples: &[
            ("reconfig -add server.4=h4:2888:3888;2181", "one more"),
            ("reconfig -remove 2", "one less"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Connect,
        name: "connect",
        args: "host:port",
        session: false,
        paths: false,
        about: "begin a new session, here or elsewhere",
        examples: &[("connect h2:2181", ""), ("connect", "the same servers again")],
        ..PLAIN
    },
    Spec {
        id: Id::Close,
        name: "close",
        paths: false,
        about: "end the session and stay in the shell",
        examples: &[("close", "")],
        ..PLAIN
    },
    Spec {
        id: Id::History,
        name: "history",
        session: false,
        paths: false,
        about: "the last eleven commands",
        examples: &[("history", "")],
        ..PLAIN
    },
    Spec {
        id: Id::Redo,
        name: "redo",
        args: "cmdno",
        session: false,
        paths: false,
        about: "a command of the history again",
        examples: &[("redo 3", "")],
        ..PLAIN
    },
    Spec {
        id: Id::Version,
        name: "version",
        paths: false,
        about: "the version of this shell",
        examples: &[("version", "")],
        ..PLAIN
    },
    Spec {
        id: Id::Quit,
        name: "quit",
        session: false,
        paths: false,
        about: "end the session and the shell",
        examples: &[("quit", "")],
        ..PLAIN
    },
];
