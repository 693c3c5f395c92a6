use proptest::prelude::*;
use testkit::Batch;

/// What a client does from its login to its end.
#[derive(Debug, Clone)]
pub(super) struct Life {
    /// What it sends at a time; it reads all answers before the next.
    pub(super) turns: Vec<Vec<Op>>,
    pub(super) end: End,
    /// How many bytes it sends at once.
    pub(super) fragment: usize,
}

#[derive(Debug, Clone)]
pub(super) enum End {
    /// Terminate.
    Leaves,
    /// It dies after this share of one more turn: so many of 256 parts of its bytes.
    Dies { turn: Vec<Op>, after: u8, resets: bool },
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Query(Text),
    Parse(usize, Text),
    Bind(usize),
    DescribeStatement(usize),
    DescribePortal,
    Execute,
    Close(usize),
    Flush,
    Sync,
    /// Bind and Execute, which make sense together.
    Run(usize),
    /// COPY with its data, all at once; it may give up.
    Copy {
        gives_up: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Reads,
    Writes,
    Fails,
    Begin,
    Commit,
    Rollback,
    Nonsense,
    Empty,
    Hangs,
    Dies,
    WriteDies,
    Breaks,
}

/// Names of statements; the first is none.
const NAMES: [&str; 3] = ["", "a", "b"];

impl Text {
    fn sql(self, tag: &str) -> String {
        match self {
            Self::Reads => format!("select '{tag}' from t"),
            Self::Writes => format!("insert into t values ('{tag}')"),
            Self::Fails => format!("select '{tag}' from fails"),
            Self::Begin => "begin".to_owned(),
            Self::Commit => "commit".to_owned(),
            Self::Rollback => "rollback".to_owned(),
            Self::Nonsense => format!("selec '{tag}'"),
            Self::Empty => String::new(),
            Self::Hangs => format!("select '{tag}' from hangs"),
            Self::Dies => format!("select '{tag}' from dies"),
            Self::WriteDies => format!("insert into dies values ('{tag}')"),
            Self::Breaks => format!("select '{tag}' from breaks"),
        }
    }

    fn kills(self) -> bool {
        matches!(self, Self::Dies | Self::WriteDies | Self::Breaks)
    }
}

impl Op {
    /// Whether it may cost a server its life, now or when it is executed.
    pub(super) fn kills(&self) -> bool {
        matches!(self, Self::Query(text) | Self::Parse(_, text) if text.kills())
    }

    /// Adds it to what a client sends.
    pub(super) fn write(&self, batch: Batch, tag: &str) -> Batch {
        match self {
            Self::Query(text) => batch.query(&text.sql(tag)),
            // an empty text is an affair of its own in the extended protocol, too
            Self::Parse(name, Text::Empty) => batch.parse(NAMES[*name], &Text::Reads.sql(tag)),
            Self::Parse(name, text) => batch.parse(NAMES[*name], &text.sql(tag)),
            Self::Bind(name) => batch.bind("", NAMES[*name], &[]),
            Self::DescribeStatement(name) => batch.describe_statement(NAMES[*name]),
            Self::DescribePortal => batch.describe_portal(""),
            Self::Execute => batch.execute("", 0),
            Self::Close(name) => batch.close_statement(NAMES[*name]),
            Self::Flush => batch.flush(),
            Self::Sync => batch.sync(),
            Self::Run(name) => batch.bind("", NAMES[*name], &[]).execute("", 0),
            Self::Copy { gives_up } => {
                let batch = batch.query("copy t from stdin").message(b'd', tag.as_bytes());
                batch.message(if *gives_up { b'f' } else { b'c' }, if *gives_up { b"no\0" } else { b"" })
            }
        }
    }
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        12 => Just(Text::Reads),
        6 => Just(Text::Writes),
        3 => Just(Text::Fails),
        3 => Just(Text::Begin),
        3 => Just(Text::Commit),
        3 => Just(Text::Rollback),
        1 => Just(Text::Nonsense),
        1 => Just(Text::Empty),
        1 => Just(Text::Hangs),
        1 => Just(Text::Dies),
        1 => Just(Text::WriteDies),
        1 => Just(Text::Breaks),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let name = || 0..NAMES.len();
    prop_oneof![
        4 => text().prop_map(Op::Query),
        6 => (name(), text()).prop_map(|(name, text)| Op::Parse(name, text)),
        2 => name().prop_map(Op::Bind),
        1 => name().prop_map(Op::DescribeStatement),
        1 => Just(Op::DescribePortal),
        2 => Just(Op::Execute),
        2 => name().prop_map(Op::Close),
        1 => Just(Op::Flush),
        3 => Just(Op::Sync),
        8 => name().prop_map(Op::Run),
        1 => any::<bool>().prop_map(|gives_up| Op::Copy { gives_up }),
    ]
}

fn turn() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..8)
}

pub(super) fn life() -> impl Strategy<Value = Life> {
    let end = prop_oneof![
        Just(End::Leaves),
        (turn(), any::<u8>(), any::<bool>()).prop_map(|(turn, after, resets)| End::Dies {
            turn,
            after,
            resets
        }),
    ];
    let fragment = prop_oneof![Just(usize::MAX), 1..64_usize];
    (prop::collection::vec(turn(), 1..6), end, fragment).prop_map(|(turns, end, fragment)| Life {
        turns,
        end,
        fragment,
    })
}
