use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use pool::{Interner, ParameterSets, Pool, SessionState, SessionStates, Statement};
use sql::{Class, Functions, Kind};
use tokio::time::Instant;

use crate::{
    DatabaseSettings, listen::Hub, refused::Refused, sequence_values::Questions, stats::Stats,
    witness::QUESTION,
};

/// What is known of a database's functions, with a version that is another one after each change.
pub type FunctionsNow = (u64, Arc<dyn Functions + Send + Sync>);

/// Everything that the clients of one database and user share on one worker.
pub(crate) struct PoolSet {
    /// The database as clients call it.
    pub(crate) database: Box<str>,
    /// The role.
    pub(crate) user: Box<str>,
    /// Which cluster, and how its pools are to be.
    pub(crate) settings: RefCell<DatabaseSettings>,
    /// The role's secret, the newest that a client logged in with.
    pub(crate) secret: RefCell<Option<Arc<auth::Secret>>>,
    /// Session states in use.
    pub(crate) states: Rc<SessionStates>,
    /// Sets of reported parameters in use.
    pub(crate) parameters: Rc<ParameterSets>,
    /// What was last told to a client that was welcomed.
    pub(crate) last_reported: RefCell<Option<Rc<pool::ParameterSet>>>,
    /// Counters.
    pub(crate) stats: Stats,
    /// Clients of it at present.
    pub(crate) clients: Cell<u32>,
    /// Since when it has had neither client nor connection.
    unused_since: Cell<Option<Instant>>,
    /// How its clients have asked so far for values that they got from sequences.
    pub(crate) questions: Cell<Questions>,
    /// Some server refused to tell a transaction's id.
    pub(crate) is_witness_refused: Cell<bool>,
    witness_statement: OnceCell<Rc<Statement>>,
    statements: Interner,
    functions: RefCell<FunctionsNow>,
    refused: Refused,
    /// What clients listen to; one for each of their encodings.
    hubs: RefCell<Vec<Rc<Hub>>>,
    /// By node id.
    pools: RefCell<Vec<Option<Rc<Pool>>>>,
}

/// Bytes of prepared statements that nobody uses any more kept for each database and user.
const STATEMENT_BYTES: usize = 16 << 20;

impl PoolSet {
    pub(crate) fn new(
        database: &str,
        user: &str,
        settings: DatabaseSettings,
        secret: Option<Arc<auth::Secret>>,
        functions: FunctionsNow,
    ) -> Rc<Self> {
        Rc::new(Self {
            database: database.into(),
            user: user.into(),
            settings: RefCell::new(settings),
            secret: RefCell::new(secret),
            states: Rc::default(),
            parameters: Rc::default(),
            last_reported: RefCell::default(),
            stats: Stats::default(),
            clients: Cell::default(),
            unused_since: Cell::default(),
            questions: Cell::default(),
            is_witness_refused: Cell::default(),
            witness_statement: OnceCell::new(),
            statements: Interner::new(STATEMENT_BYTES),
            functions: RefCell::new(functions),
            refused: Refused::default(),
            hubs: RefCell::default(),
            pools: RefCell::default(),
        })
    }

    /// The name of the database on the servers.
    pub(crate) fn server_database(&self) -> Box<str> {
        self.settings.borrow().server_name.as_deref().unwrap_or(&self.database).into()
    }

    pub(crate) fn classify(&self, text: &[u8]) -> Class {
        let class = sql::classify(text, &*self.functions.borrow().1);
        self.refused.judge(class, text)
    }

    /// What executing a prepared statement of this kind by `text` is.
    pub(crate) fn kind_of_execute(&self, prepared: Kind, text: &[u8]) -> Kind {
        sql::kind_of_execute(prepared, text, &*self.functions.borrow().1)
    }

    /// The statement of a text and its types in a session of this state.
    pub(crate) fn intern(
        &self,
        text: &[u8],
        parameter_types: &[u8],
        state: &Rc<SessionState>,
    ) -> Rc<Statement> {
        self.statements.intern(text, parameter_types, state, self.version(), |text| self.classify(text))
    }

    /// The statement that asks a transaction for its id: the same under all settings.
    pub(crate) fn witness_statement(&self) -> Rc<Statement> {
        let intern = || self.intern(QUESTION, &[0, 0], &self.states.empty());
        Rc::clone(self.witness_statement.get_or_init(intern))
    }

    /// Sees to it that the class of a statement is up to date. To be called before one that was prepared earlier is used:
    /// its functions may have become known or other ones since, or a standby may have refused it.
    pub(crate) fn reclassify(&self, statement: &Statement) {
        statement.reclassify(self.version(), |text| self.classify(text));
    }

    /// Changes whenever what [`PoolSet::classify`] says may.
    fn version(&self) -> u64 {
        self.functions.borrow().0.wrapping_add(self.refused.version())
    }

    /// The next client that prepares the text of `statement` prepares it anew.
    pub(crate) fn forget_statement(&self, statement: &Statement) {
        self.statements.forget(statement);
    }

    /// What statements stand for may have changed: the next client that prepares any of them prepares it anew, as
    /// without the proxy, instead of getting a plan whose result type is not that of its text any more.
    pub(crate) fn forget_statements(&self) {
        self.statements.forget_all();
    }

    /// A standby refused to run `text`: texts of its shape go to the primary from now on.
    pub(crate) fn remember_refused(&self, text: &[u8]) {
        self.refused.remember(text);
    }

    pub(crate) fn for_each_statement(&self, visit: impl FnMut(&Rc<Statement>)) {
        self.statements.for_each(visit);
    }

    pub(crate) fn statement_bytes(&self) -> usize {
        self.statements.bytes()
    }

    pub(crate) fn set_functions(&self, functions: FunctionsNow) {
        if self.functions.borrow().0 != functions.0 {
            *self.functions.borrow_mut() = functions;
        }
    }

    /// The hub of clients of this encoding, made by `make` if it is not there yet.
    pub(crate) fn hub(&self, encoding: &[u8], make: impl FnOnce() -> Rc<Hub>) -> Rc<Hub> {
        let mut hubs = self.hubs.borrow_mut();
        if let Some(hub) = hubs.iter().find(|hub| hub.encoding() == encoding) {
            return Rc::clone(hub);
        }
        let hub = make();
        hubs.push(Rc::clone(&hub));
        hub
    }

    pub(crate) fn for_each_hub(&self, visit: impl FnMut(&Rc<Hub>)) {
        self.hubs.borrow().iter().for_each(visit);
    }

    /// The pool on a node, made by `make` if it is not there yet.
    pub(crate) fn pool(&self, node: topology::NodeId, make: impl FnOnce() -> Rc<Pool>) -> Rc<Pool> {
        let at = usize::from(node.0);
        let mut pools = self.pools.borrow_mut();
        if at >= pools.len() {
            pools.resize(at + 1, None);
        }
        Rc::clone(pools[at].get_or_insert_with(make))
    }

    /// Whether it can be forgotten, counters and all: unused for an hour, or at once if no login ever succeeded, so
    /// that made-up database names leave nothing behind.
    pub(crate) fn is_forgettable(&self, now: Instant) -> bool {
        const UNUSED_MAX: Duration = Duration::from_secs(3600);
        let mut live = 0;
        self.for_each_pool(|_, pool| live += pool.counts().live);
        if self.clients.get() > 0 || live > 0 {
            self.unused_since.set(None);
            return false;
        }
        let since = self.unused_since.get().unwrap_or(now);
        self.unused_since.set(Some(since));
        self.last_reported.borrow().is_none() || now.duration_since(since) >= UNUSED_MAX
    }

    /// Forgets all pools, as when nodes were dealt new ids; their connections close as they come back.
    pub(crate) fn forget_pools(&self) -> Vec<Rc<Pool>> {
        self.pools.take().into_iter().flatten().collect()
    }

    pub(crate) fn for_each_pool(&self, mut visit: impl FnMut(topology::NodeId, &Rc<Pool>)) {
        for (at, pool) in self.pools.borrow().iter().enumerate() {
            if let (Some(pool), Ok(id)) = (pool, u16::try_from(at)) {
                visit(topology::NodeId(id), pool);
            }
        }
    }
}
