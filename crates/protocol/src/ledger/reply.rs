//! The words in which replies are accounted for.

/// A reply that the server owes, named after the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// ParseComplete.
    Parse,
    /// BindComplete.
    Bind,
    /// ParameterDescription, then RowDescription or NoData.
    DescribeStatement,
    /// RowDescription or NoData.
    DescribePortal,
    /// Rows or COPY, then CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// CloseComplete.
    Close,
    /// ReadyForQuery.
    Sync,
    /// Whatever a simple query brings, then ReadyForQuery.
    Query,
    /// FunctionCallResponse, then ReadyForQuery.
    FunctionCall,
    /// Nothing: the client's CopyDone or CopyFail stands here in the order of things.
    CopyEnd,
}

impl Owed {
    pub(super) fn is_answered_by_ready(self) -> bool {
        matches!(self, Self::Sync | Self::Query | Self::FunctionCall)
    }
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The client: the reply is forwarded.
    Client,
    /// The client, and what it asks for is the commit of a transaction block.
    Commit,
    /// The proxy: the reply is swallowed.
    Proxy,
}

impl Origin {
    /// To whom the reply belongs.
    pub(super) fn owner(self) -> Owner {
        match self {
            Self::Client | Self::Commit => Owner::Client,
            Self::Proxy => Owner::Proxy,
        }
    }
}

/// A reply that the proxy itself gives, in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// ParseComplete for a statement that the server has already.
    ParseComplete,
    /// CloseComplete for a statement that the server keeps for others.
    CloseComplete,
    /// CommandComplete of a DEALLOCATE of such a statement.
    Deallocated,
    /// CommandComplete of a PREPARE that was carried out by a Parse.
    Prepared,
    /// ReadyForQuery with the server's present status, for a query that was answered locally.
    Ready,
}

/// To whom a server message belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Forward it.
    Client,
    /// Swallow it.
    Proxy,
}

/// What a server message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Part of an answer, or the whole of one that no ReadyForQuery follows.
    Reply(Owner),
    /// ReadyForQuery: the unit is answered.
    Ready(Owner),
    /// An ErrorResponse to something that was asked.
    Error(Owner),
    /// NoticeResponse, ParameterStatus, NotificationResponse: at any time, owed to nobody.
    Asynchronous,
}

/// What stands before a commit that was not answered, and what comes behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedCommit {
    /// What the client has not been told of what comes before it, in order: nothing of that runs anything. `None`: some of
    /// that does, and its answer is lost.
    pub before: Option<Vec<Untold>>,
    /// Whether the unit goes on behind it: with its Sync or with more.
    pub after: AfterCommit,
    /// How far the server may have come.
    pub reached: Reached,
}

/// How far the server may have come with a commit that it has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Nothing is known of that.
    Perhaps,
    /// It owes an answer that it sends off before it looks at the commit.
    Not,
}

/// A reply that a client has not got and that says nothing about what the server did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untold {
    /// ParseComplete.
    Parse,
    /// BindComplete.
    Bind,
    /// ParameterDescription without parameters, and NoData.
    DescribeStatement,
    /// NoData.
    DescribePortal,
    /// CloseComplete.
    Close,
}

/// What comes behind a commit that was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCommit {
    /// ReadyForQuery.
    Ready,
    /// Nothing yet: the end of its unit was not sent.
    Open,
    /// Something else of the same unit.
    More,
}

/// A message that nobody is owed: the connection has lost its place and must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a message of type {tag:#04x} that nobody asked for")]
pub struct Unowed {
    /// The message's type.
    pub tag: u8,
}

/// What a client still expects of a server that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned {
    /// ReadyForQuery messages owed to it.
    pub ready_owed: usize,
    /// It sent requests that no Sync follows yet.
    pub unit_open: bool,
}
