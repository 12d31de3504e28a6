//! The arrows and the budgets: one entry per room, one reason per foreign crate.
//!
//! A new dependency is a line here and a sentence in ARCHITECTURE.md. Ask of it: what would it
//! take to write the part that we need, who looks after it, and what does it pull in?

/// A room of the workspace: one crate.
pub struct Room {
    /// The crate's name.
    pub name: &'static str,
    /// Pure: see `tidy/rooms.rs`.
    pub core: bool,
    /// Part of the product, as opposed to its tests and chores.
    pub product: bool,
    /// Crates of ours that its code may know.
    pub knows: &'static [&'static str],
    /// Further ones that its tests may know.
    pub tests_know: &'static [&'static str],
    /// Foreign crates, each with the reason why it is not written here.
    pub budget: &'static [(&'static str, &'static str)],
    /// The same for tests.
    pub test_budget: &'static [(&'static str, &'static str)],
}

/// What must not lie below a core room at any depth.
pub const FORBIDDEN_BELOW_CORE: &[(&str, &str)] = &[
    ("tokio", "the runtime belongs to `server`"),
    ("mio", "sockets belong to `server`"),
    ("socket2", "sockets belong to `server`"),
    ("rustix", "files and sockets belong to `storage` and `server`"),
    ("rand", "randomness is an argument"),
    ("getrandom", "randomness is an argument"),
    ("parking_lot", "one owner needs no lock"),
    ("tracing-subscriber", "the host decides where events go"),
    ("anyhow", "a library's errors are types"),
];

const PROPERTIES: (&str, &str) = ("proptest", "properties over random inputs, shrunk to one");
const SCRATCH: (&str, &str) = ("tempfile", "directories that vanish with the test");
const JSON: (&str, &str) = ("serde_json", "reads what the recorded fixtures contain");
const SLICES: (&str, &str) = ("bytes", "shared slices of frames: data is stored as it arrived");
const ERRORS: (&str, &str) = ("thiserror", "error enums are API; this only derives their texts");
const EVENTS: (&str, &str) = ("tracing", "events with fields; costs a branch when off");
const MESSAGES: (&str, &str) = ("anyhow", "errors that end in a message to a person");
const FLAGS: (&str, &str) = ("clap", "flags, help and their errors as people expect them");

const PROTO: &str = "oxkeeper-proto";
const TREE: &str = "oxkeeper-tree";
const ZAB: &str = "oxkeeper-zab";
const STORAGE: &str = "oxkeeper-storage";
const NODE: &str = "oxkeeper-node";
const CLIENT: &str = "oxkeeper-client";
const CONFIG: &str = "oxkeeper-config";
const SERVER: &str = "oxkeeper-server";
const BENCH: &str = "oxkeeper-bench";
const RECIPES: &str = "oxkeeper-recipes";
const SHELL: &str = "oxkeeper-shell";
const SIM: &str = "oxkeeper-sim";
const SCRATCH_SERVER: &str = "oxkeeper-scratch";

/// Every crate of the workspace.
pub const ROOMS: [Room; 16] = [
    Room {
        name: PROTO,
        core: true,
        product: true,
        knows: &[],
        tests_know: &[],
        budget: &[ERRORS],
        test_budget: &[PROPERTIES, JSON],
    },
    Room {
        name: TREE,
        core: true,
        product: true,
        knows: &[PROTO],
        tests_know: &[],
        budget: &[
            ERRORS,
            EVENTS,
            ("crc32fast", "znode digests are CRC-32; several times faster than a plain table"),
            ("foldhash", "fast hashing that can be seeded against flooding"),
            ("hashbrown", "tables of bare handles: the key lies in the znode, not beside it"),
            ("smallvec", "most directories and watch lists have under five entries"),
            ("triomphe", "header and bytes of a znode in one allocation, an 8-byte handle"),
        ],
        test_budget: &[
            PROPERTIES,
            JSON,
            ("simd-adler32", "the checksum of recorded logs and snapshots"),
            ("mimalloc", "memory is measured with the allocator the server has"),
        ],
    },
    Room {
        name: ZAB,
        core: true,
        product: true,
        knows: &[PROTO],
        tests_know: &[],
        budget: &[SLICES, ERRORS, EVENTS],
        test_budget: &[PROPERTIES, JSON],
    },
    Room {
        name: STORAGE,
        core: false,
        product: true,
        knows: &[PROTO],
        tests_know: &[],
        budget: &[
            ERRORS,
            EVENTS,
            ("flate2", "gzip snapshots, by the pure Rust zlib-rs"),
            ("rustix", "fdatasync, preallocation and locks without unsafe code"),
            ("simd-adler32", "checksums of log and snapshot at memory speed"),
            ("snap", "snappy blocks of snapshots; the framing is ours"),
        ],
        test_budget: &[PROPERTIES, JSON, SCRATCH],
    },
    Room {
        name: NODE,
        core: true,
        product: true,
        knows: &[PROTO, TREE, ZAB],
        tests_know: &[],
        budget: &[
            SLICES,
            EVENTS,
            ("base64", "digest identities are base64"),
            ("foldhash", "the hash of the table of metrics' keys"),
            ("hashbrown", "metrics' keys stand once: the table holds their places"),
            ("sha1", "digest identities are SHA-1"),
            ("slab", "connections under small reusable numbers"),
        ],
        test_budget: &[PROPERTIES, JSON],
    },
    Room {
        name: CLIENT,
        // Its folder `core` is: `cargo xtask tidy` sees to that.
        core: false,
        product: true,
        knows: &[PROTO],
        // Its tests run whole sessions against a real server, without a socket between them and
        // with one.
        tests_know: &[NODE, TREE, SCRATCH_SERVER],
        budget: &[
            ERRORS,
            EVENTS,
            ("futures-core", "the trait `Stream`, which everybody's combinators take"),
            ("tokio", "the runtime that its users are on: sockets, names, timers"),
        ],
        test_budget: &[PROPERTIES],
    },
    Room {
        name: RECIPES,
        core: false,
        product: true,
        knows: &[CLIENT],
        // Its tests run recipes in the simulator's ensembles, and over sockets on a whole server.
        tests_know: &[PROTO, NODE, SCRATCH_SERVER, SIM],
        budget: &[
            ERRORS,
            ("serde", "instances of services and records of jobs are JSON"),
            ("serde_json", "instances of services and records of jobs are JSON"),
            ("tokio", "the client's runtime: timers, tasks, channels between handle and task"),
        ],
        test_budget: &[PROPERTIES],
    },
    Room {
        name: CONFIG,
        core: false,
        product: true,
        knows: &[],
        tests_know: &[],
        budget: &[
            ERRORS,
            ("serde", "effective values as JSON, for other programs"),
            ("serde_json", "effective values as JSON, for other programs"),
        ],
        test_budget: &[PROPERTIES, SCRATCH],
    },
    Room {
        name: SERVER,
        core: false,
        product: true,
        knows: &[PROTO, TREE, ZAB, STORAGE, NODE, CONFIG],
        tests_know: &[],
        budget: &[
            SLICES,
            EVENTS,
            ("parking_lot", "the lock around the tree: fair, and an eighth the size"),
            ("rustix", "limits, process figures and socket options without unsafe code"),
            ("tokio", "one single-threaded runtime per I/O thread; sockets, signals, timers"),
            ("tracing-subscriber", "where log events go, as text or JSON"),
        ],
        test_budget: &[
            SCRATCH,
            JSON,
            ("mimalloc", "reads are measured with the allocator the server has"),
        ],
    },
    Room {
        name: BENCH,
        core: false,
        product: true,
        knows: &[PROTO],
        tests_know: &[],
        budget: &[
            MESSAGES,
            FLAGS,
            ("hdrhistogram", "latency percentiles with bounded memory and error"),
            ("mio", "the bare readiness loop: a generator has to cost less than what it measures"),
            ("rustix", "timers finer than a millisecond, limits and signals without unsafe code"),
            ("serde", "figures as JSON"),
            ("serde_json", "figures as JSON"),
        ],
        test_budget: &[SCRATCH],
    },
    Room {
        name: SHELL,
        core: false,
        product: true,
        knows: &[CLIENT],
        tests_know: &[],
        budget: &[
            ("base64", "data that is no text, on the command line and in JSON"),
            ("jiff", "times in the zone of who reads them, as java.util.Date prints them"),
            ("rustyline", "editing a line: history, completion, terminals of all kinds"),
            ("serde_json", "results for programs, exports"),
            ("tokio", "the client's runtime, one thread of it; Ctrl-C"),
        ],
        test_budget: &[],
    },
    Room {
        name: "oxkeeper",
        core: false,
        product: true,
        knows: &[BENCH, CONFIG, SERVER, SHELL],
        // Its process tests speak to the binary over the wire.
        tests_know: &[PROTO],
        budget: &[EVENTS, FLAGS, ("mimalloc", "less memory and time than the system's allocator")],
        test_budget: &[
            JSON,
            SCRATCH,
            ("rustix", "signals and file limits for the processes tested"),
        ],
    },
    Room {
        name: SIM,
        core: false,
        product: false,
        // Everything that ships except what touches the machine.
        knows: &[PROTO, TREE, STORAGE, NODE, ZAB, SERVER, CLIENT],
        tests_know: &[],
        budget: &[
            FLAGS,
            SLICES,
            EVENTS,
            ("tokio", "the sink that a snapshot on its way out takes"),
            ("tracing-subscriber", "shows what servers log between the lines of a trace"),
        ],
        test_budget: &[],
    },
    Room {
        name: SCRATCH_SERVER,
        core: false,
        product: false,
        // No client: the clients' tests and documentation stand on it.
        knows: &[CONFIG, SERVER],
        tests_know: &[],
        budget: &[SCRATCH, ("tokio", "the runtime that an example is run on")],
        test_budget: &[],
    },
    Room {
        name: "oxkeeper-conformance",
        core: false,
        product: false,
        // The election port, which votes among Apache's servers; our client, and our recipes beside
        // others'.
        knows: &[PROTO, ZAB, SERVER, CLIENT, RECIPES],
        tests_know: &[],
        budget: &[
            SLICES,
            MESSAGES,
            ("serde", "recordings and reports are JSON"),
            ("serde_json", "recordings and reports are JSON"),
            ("tokio", "the runtime that the election port and our recipes are run on"),
        ],
        test_budget: &[SCRATCH],
    },
    Room {
        name: "xtask",
        core: false,
        product: false,
        knows: &[],
        tests_know: &[],
        budget: &[
            MESSAGES,
            ("serde", "cargo metadata is JSON"),
            ("serde_json", "cargo metadata is JSON"),
            ("sha1", "checksums of fixtures in the form that sha1sum reads"),
        ],
        test_budget: &[],
    },
];
