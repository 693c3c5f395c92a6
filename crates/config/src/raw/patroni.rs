//! A cluster that Patroni manages.

use std::path::PathBuf;

use patroni::Endpoint;

use crate::{
    section::{Preset::Text as Default, Preset::Unset, section},
    value::{Label, List, Name, SecretSource, Text, Time},
};

section! {
    /// Patroni, which manages the cluster: it says who leads before the servers do, and is asked for planned moves. To
    /// be written only where it does. No server is written to on its word alone.
    Patroni, "cluster.patroni", repeated: false {
        /// REST APIs of the members, each of which tells of all. Unset: port 8008 of every node, by http.
        urls: Option<List<Endpoint>> = Unset("[\"http://10.0.1.1:8008\", \"http://10.0.2.1:8008\"]"), Reload;
        /// Members of the etcd cluster that holds Patroni's keys (its v3 interface). With them a new leader is known
        /// as soon as it is elected; without, after half an interval on average.
        etcd: List<Endpoint> = Default(""), Reload;
        /// The cluster's name in Patroni; needed for etcd. Members of a cluster of another name are not believed.
        scope: Option<Label> = Unset("\"main\""), Reload;
        /// Under which namespace Patroni keeps its keys.
        namespace: Text = Default("service"), Reload;
        /// Time between two questions. Ten a second while there is no primary.
        interval: Time<100, 60_000> = Default("1s"), Reload;
        /// How long an answer may take.
        timeout: Time<100, 60_000> = Default("1s"), Reload;
        /// Who asks the REST API for planned moves. Unset: it wants no user.
        user: Option<Name> = Unset("\"patroni\""), Reload;
        /// The password: text, { file = "…" } or { env = "…" }.
        secret: Option<SecretSource> = Unset("{ file = \"/run/secrets/patroni\" }"), Reload;
        /// Who reads etcd. Unset: it wants no user.
        etcd_user: Option<Name> = Unset("\"pgherd\""), Reload;
        /// The password, likewise.
        etcd_secret: Option<SecretSource> = Unset("{ file = \"/run/secrets/etcd\" }"), Reload;
        /// PEM file of the authorities trusted for https. Unset: the system's.
        root_certificate: Option<PathBuf> = Unset("\"patroni-root.crt\""), Reload;
        /// PEM file with the certificate to show when asked for one.
        certificate: Option<PathBuf> = Unset("\"patroni-client.crt\""), Reload;
        /// PEM file with its private key. It must not be readable by everybody.
        key: Option<PathBuf> = Unset("\"patroni-client.key\""), Reload;
    }
}
