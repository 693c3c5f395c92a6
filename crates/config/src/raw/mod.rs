//! The file's sections as they are written. The doc comments are the reference: meaning, unit, and, by the table's
//! other columns, default and whether a reload suffices.

mod access;
mod cluster;
mod hands;
mod patroni;
mod process;
mod traffic;
mod user;

pub(crate) use access::{Admin, Auth, User};
pub(crate) use cluster::{Cluster, ClusterNode, ClusterTls, Database, DatabaseEntry, Monitor, WholeCluster};
pub(crate) use hands::{Agents, Hooks};
pub(crate) use patroni::Patroni;
pub(crate) use process::{Health, Listen, Log, Proxy, Tls};
pub(crate) use traffic::{Pool, Routing, Session};
pub(crate) use user::{DatabaseUser, UserEntry, UserPool};

use cluster::Failover;

use crate::{
    section::{EMPTY, Reader, Section, Shown},
    tree::Table,
};

/// Every section, in the order of the reference.
pub(crate) static SECTIONS: [Section; 24] = [
    Proxy::SECTION,
    Log::SECTION,
    Listen::SECTION,
    Health::SECTION,
    Tls::SECTION,
    Auth::SECTION,
    User::SECTION,
    user::USER_POOL,
    Admin::SECTION,
    Cluster::SECTION,
    ClusterNode::SECTION,
    Monitor::SECTION,
    Failover::SECTION,
    ClusterTls::SECTION,
    Patroni::SECTION,
    Agents::SECTION,
    Hooks::SECTION,
    Database::SECTION,
    cluster::DATABASE_POOL,
    DatabaseUser::SECTION,
    user::DATABASE_USER_POOL,
    Pool::SECTION,
    Session::SECTION,
    Routing::SECTION,
];

/// The file as a whole has no keys of its own.
const ROOT: Section = Section { path: "", repeated: false, docs: &[], keys: &[] };

/// The whole file, each value right by itself.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) proxy: Proxy,
    pub(crate) log: Log,
    pub(crate) listen: Vec<Listen>,
    pub(crate) health: Health,
    pub(crate) tls: Tls,
    pub(crate) auth: Auth,
    pub(crate) users: Vec<UserEntry>,
    pub(crate) admin: Admin,
    pub(crate) clusters: Vec<WholeCluster>,
    pub(crate) databases: Vec<DatabaseEntry>,
    pub(crate) pool: Pool,
    pub(crate) session: Session,
    pub(crate) routing: Routing,
}

impl Document {
    /// Reads all of it; mistakes go to the reader's context. `None` only together with a mistake.
    pub(crate) fn read(root: &mut Reader<'_, '_>) -> Option<Self> {
        root.refuse_unknown(&ROOT);
        let proxy = Proxy::read(&mut root.child("proxy"));
        let log = Log::read(&mut root.child("log"));
        let listen = at_least_one(root, "listen", Listen::read);
        let health = Health::read(&mut root.child("health"));
        let tls = Tls::read(&mut root.child("tls"));
        let auth = Auth::read(&mut root.child("auth"));
        let users = root.children("user", UserEntry::read);
        let admin = Admin::read(&mut root.child("admin"));
        let clusters = root.children("cluster", WholeCluster::read);
        let (pools, roles) = (user::subtable(root.table, "pool"), user::roles(root.table));
        let databases = at_least_one(root, "database", |reader| DatabaseEntry::read(reader, pools, &roles));
        let pool = Pool::read(&mut root.child("pool"));
        let session = Session::read(&mut root.child("session"));
        let routing = Routing::read(&mut root.child("routing"));
        Some(Self {
            proxy: proxy?,
            log: log?,
            listen,
            health: health?,
            tls: tls?,
            auth: auth?,
            users,
            admin: admin?,
            clusters,
            databases,
            pool: pool?,
            session: session?,
            routing: routing?,
        })
    }
}

/// Reads a list whose absence means one entry of defaults.
fn at_least_one<T>(
    root: &mut Reader<'_, '_>,
    name: &'static str,
    mut read: impl FnMut(&mut Reader<'_, '_>) -> Option<T>,
) -> Vec<T> {
    if root.table.get(name).is_some() {
        return root.children(name, read);
    }
    let table: &Table = &EMPTY;
    let path = format!("{name}.0");
    let origin = root.origin.clone();
    let (inherited, shown) = (Vec::new(), Shown::All);
    read(&mut Reader { context: &mut *root.context, path, table, origin, inherited, shown })
        .into_iter()
        .collect()
}
