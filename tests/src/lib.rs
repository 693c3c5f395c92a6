//! End to end: the real binary in front of real PostgreSQL.
//!
//! A [`Herd`] is what a test talks to: a cluster, one proxy or several, and a database of its own.
//!
//! ```no_run
//! # async fn example() {
//! use e2e::Setup;
//!
//! let herd = Setup::shared().set("pool.size", 3).start();       // the cluster that all such tests share
//! let mut client = herd.connect().await;                        // as role `app` in the herd's own database
//! assert_eq!(client.value("select 1").await, "1");
//!
//! let herd = Setup::own(2).regions(["eu", "us"]).start();       // a primary and two standbys for this test alone
//! herd.cluster().promote(1).unwrap();                           // see `lab::Cluster`
//! let mut admin = herd.proxy(1).admin().await;
//! admin.rows("SHOW NODES").await.unwrap();
//! # }
//! ```
//!
//! [`Herd::common`] is one herd for all tests that need no settings and can share its database.
//!
//! Tests on the shared cluster run side by side, so they leave its nodes alone, work in the herd's database, and give
//! roles and other things that all databases share names that begin with it. Tests that stop, promote or configure
//! nodes ask for their own cluster. Everything blocks except clients, and everything ends with its `Herd`; the shared
//! cluster ends with the process (its warden sees to it). The log of a proxy whose test failed is printed.

mod binary;
mod certificate;
mod configuration;
mod herd;
mod proxy;
mod relay;
mod setup;
mod shared;
mod wait;

pub use binary::pgherd;
pub use certificate::Certificate;
pub use configuration::Configuration;
pub use herd::{Common, Herd};
pub use proxy::{Predecessor, Proxy};
pub use relay::{Relay, Swallow};
pub use setup::Setup;
pub use shared::start as start_cluster;
pub use wait::{eventually, eventually_async};
