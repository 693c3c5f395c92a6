//! What pgherd and its agents are told: where everything is, and otherwise their defaults.

use std::fmt::Write as _;

use lab::{Cluster, Login, Node};

/// The file of the proxy, which manages the cluster alone.
pub(super) fn proxy(cluster: &Cluster, admin: &Login, port: u16, agents: &[u16]) -> String {
    let (application, monitor) = (cluster.application(), cluster.monitor());
    let mut text = format!(
        "[proxy]\nstate_dir = \"state\"\n\n[[listen]]\naddress = \"127.0.0.1:{port}\"\n\n\
         [[user]]\nname = {:?}\nsecret = {:?}\n\n[[user]]\nname = {:?}\nsecret = {:?}\n\n\
         [admin]\nusers = [{:?}]\n\n[[cluster]]\nname = \"main\"\nmanage = \"single\"\nnodes = [\n",
        application.user, application.password, admin.user, admin.password, admin.user,
    );
    for (node, agent) in cluster.nodes().iter().zip(agents) {
        let _ = writeln!(
            text,
            "    {{ address = \"127.0.0.1:{}\", name = {:?}, agent = \"127.0.0.1:{agent}\" }},",
            node.port(),
            node.name(),
        );
    }
    let _ = write!(
        text,
        "]\n\n[cluster.monitor]\nuser = {:?}\nsecret = {:?}\n\n[cluster.tls]\nmode = \"disable\"\n\n\
         [cluster.agents]\ncertificate = \"keys/proxy.crt\"\nkey = \"keys/proxy.key\"\n\
         root_certificate = \"keys/ca.crt\"\n",
        monitor.user, monitor.password,
    );
    text
}

/// The file of a node's agent.
pub(super) fn agent(cluster: &Cluster, node: &Node, port: u16) -> String {
    let name = node.name();
    format!(
        "[agent]\nlisten = \"127.0.0.1:{port}\"\n\n[tls]\ncertificate = \"keys/{name}.crt\"\n\
         key = \"keys/{name}.key\"\nroot_certificate = \"keys/ca.crt\"\n\n\
         [postgres]\ndata_dir = {:?}\nbin_dir = {:?}\n\n\
         [source]\nuser = {:?}\npassword_file = \"monitor.password\"\nsslmode = \"disable\"\n",
        node.data(),
        cluster.binaries().directory(),
        cluster.monitor().user,
    )
}
