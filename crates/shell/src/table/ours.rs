//! The commands that ZooKeeper's shell does not have.
//!
//! Their options are named as those of the Unix commands that do the like.

use super::{DRY_RUN, Id, PLAIN, Spec};
use crate::flags::Flag;

const DEPTH: Flag = Flag::with("-d", "depth", "so many levels below the path");
const OVERWRITE: Flag = Flag::switch("--overwrite", "change what is there already");

pub(super) const COMMANDS: [Spec; 11] = [
    Spec {
        id: Id::Tree,
        name: "tree",
        args: "[-d depth] [-s] [path]",
        flags: &[DEPTH, Flag::switch("-s", "kind, version, size and age of each")],
        about: "a subtree as a tree",
        examples: &[("tree /app", ""), ("tree -s -d 2 /", "two levels with sizes and ages")],
        ..PLAIN
    },
    Spec {
        id: Id::Find,
        name: "find",
        args: "path [-name glob] [-path glob] [-owner session] [-type kind] [-size [+-]n] \
               [-age [+-]time] [-d depth] [-s]",
        flags: &[
            Flag::with("-name", "glob", "the last name fits: * ? [abc]"),
            Flag::with("-path", "glob", "the path fits; * does not stop at a slash"),
            Flag::with(
                "-owner",
                "session",
                "ephemeral, of this session: a number as in stat, or me",
            ),
            Flag::with("-type", "kind", "persistent or ephemeral"),
            Flag::with("-size", "bytes", "+n for more than n bytes, -n for less; 4k, 1m"),
            Flag::with("-age", "time", "since its data changed: +1d for longer, -90s for less"),
            Flag::with("-children", "n", "+n for more than n children, -n for less"),
            DEPTH,
            Flag::switch("-s", "kind, version, size and age of each"),
        ],
        least: 1,
        about: "znodes by name, owner, kind, size or age",
        examples: &[
            ("find / -name 'lock-*'", ""),
            ("find /app -type ephemeral -age +1d", "held for longer than a day"),
            ("find / -size +512k -s", "the big ones"),
            ("find / -owner 0x100000abc0001", "what a session holds"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Copy,
        name: "cp",
        args: "[--overwrite] [--dry-run] source target",
        flags: &[OVERWRITE, DRY_RUN],
        least: 2,
        about: "copy a subtree with its data and ACLs",
        examples: &[
            ("cp --dry-run /app /backup", "what would be created"),
            ("cp /app /backup", "/backup is /app again; ephemerals are left out"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Move,
        name: "mv",
        args: "[--dry-run] source target",
        flags: &[DRY_RUN],
        least: 2,
        about: "move a subtree: copy it, compare, delete the source",
        examples: &[("mv /app /old", "refused if the source changed meanwhile")],
        ..PLAIN
    },
    Spec {
        id: Id::Export,
        name: "export",
        args: "[-f json|tar] [-o file] [--overwrite] [--dry-run] path",
        flags: &[
            Flag::with("-f", "format", "json, a line each (default), or tar; a name decides"),
            Flag::with("-o", "file", "into a new file, not to standard output"),
            OVERWRITE,
            DRY_RUN,
        ],
        least: 1,
        about: "a subtree with data, ACLs and stats, as a stream",
        examples: &[
            ("export -o app.jsonl /app", "lines of JSON"),
            ("export -o app.tar /app", "an archive that tar can list and unpack"),
            ("export --overwrite -o app.tar /app", "in place of the one that is there"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Import,
        name: "import",
        args: "[--overwrite] [--dry-run] [--no-acl] file path",
        flags: &[
            OVERWRITE,
            DRY_RUN,
            Flag::switch("--no-acl", "everybody may do everything with what is created"),
        ],
        least: 2,
        about: "create what was exported, here or elsewhere",
        examples: &[
            ("import --dry-run app.jsonl /app", "what would be created or changed"),
            ("import --overwrite app.tar /app", "data and ACLs become the archive's"),
            ("import - /app", "from standard input"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Diff,
        name: "diff",
        args: "[-with servers] [--acl] [--data] one other",
        flags: &[
            Flag::with("-with", "servers", "the other subtree is on these servers"),
            Flag::switch("--acl", "compare ACLs too"),
            Flag::switch("--data", "show the data that differ"),
        ],
        least: 1,
        about: "two subtrees, here or on two clusters; exit code 10 if they differ",
        examples: &[
            ("diff /app /backup", ""),
            ("diff -with h9:2181 /app", "the same path on another cluster"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Watch,
        name: "watch",
        args: "[-f] [--data] path",
        flags: &[
            Flag::switch("-f", "go on until Ctrl-C, not just for one change"),
            Flag::switch("--data", "with the new data"),
        ],
        least: 1,
        about: "follow a subtree live",
        examples: &[
            ("watch /app", "wait for the next change"),
            ("watch -f --data /app", "all changes with their data"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Edit,
        name: "edit",
        args: "[--dry-run] path",
        flags: &[DRY_RUN],
        least: 1,
        about: "change data in $EDITOR; refused if somebody else changed it meanwhile",
        examples: &[
            ("edit /app/config", ""),
            ("edit --dry-run /app/config", "what the editor left would be set"),
        ],
        ..PLAIN
    },
    Spec {
        id: Id::Top,
        name: "top",
        args: "[-n rounds] [-t seconds] [path]",
        flags: &[
            Flag::with("-n", "rounds", "end after so many (until Ctrl-C)"),
            Flag::with("-t", "seconds", "length of a round (5)"),
        ],
        about: "what changes most",
        examples: &[("top", "the whole tree"), ("top -n 1 -t 60 /app", "one minute of a subtree")],
        ..PLAIN
    },
    Spec {
        id: Id::Help,
        name: "help",
        args: "[command | exit]",
        session: false,
        paths: false,
        about: "all commands, or one with its options and examples; exit: the exit codes",
        examples: &[("help", ""), ("help find", ""), ("help exit", "")],
        ..PLAIN
    },
];
