//! `pgherd node` and `pgherd hook`: agents and commands by way of a proxy's configuration.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use e2e::{Setup, eventually};
use lab::Cluster;

use super::{
    PATIENCE,
    beside::{Beside, place_binary},
    lent::Lent,
    rejoining::{check_rejoined, part, part_from_its_wal},
};

/// A proxy's configuration for a cluster, and the binary, where the servers' user can read both.
struct Configured {
    cluster: Arc<Cluster>,
    folder: PathBuf,
}

impl Configured {
    /// `more` comes behind what the cluster itself needs; `nodes` gives more keys of a node.
    fn new(cluster: &Arc<Cluster>, nodes: impl Fn(usize) -> String, more: &str) -> Self {
        let folder = cluster.directory().join("configured");
        fs::create_dir_all(&folder).unwrap();
        let node = |(at, node): (usize, &lab::Node)| {
            let (port, name) = (node.port(), node.name());
            format!("{{ address = \"127.0.0.1:{port}\", name = {name:?}{} }}", nodes(at))
        };
        let nodes: Vec<String> = cluster.nodes().iter().enumerate().map(node).collect();
        let text = format!("[[cluster]]\nnodes = [{}]\n{more}\n", nodes.join(", "));
        fs::write(folder.join("pgherd.toml"), text).unwrap();
        place_binary(&folder.join("pgherd"));
        Self { cluster: Arc::clone(cluster), folder }
    }

    /// Runs pgherd to its end as the servers' user.
    fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(self.folder.join("pgherd"));
        self.cluster.run_as_server(&mut command);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.folder.display()));
        command.env("PGHERD__LOG__LEVEL", "info").env_remove("DATABASE_URL");
        command.args(arguments.split(' ')).arg("-c").arg(self.folder.join("pgherd.toml"));
        command.output().unwrap()
    }

    /// Runs it and gives what it printed; it must succeed.
    #[track_caller]
    fn succeed(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it and gives what it complained about; it must fail.
    #[track_caller]
    fn fail(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// An executable beside the configuration.
    fn script(&self, name: &str, text: &str) -> PathBuf {
        script(&self.folder.join(name), text)
    }
}

fn script(path: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

#[test]
fn a_node_with_an_agent_is_acted_on_by_it_and_rejoins_by_a_copy_where_it_must() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    let port = beside.address().port();
    let tls = beside.tls("proxy");
    let agent = |at| if at == 0 { format!(", agent = \"127.0.0.1:{port}\"") } else { String::new() };
    let more = format!(
        "[cluster.agents]\ncertificate = {:?}\nkey = {:?}\nroot_certificate = {:?}\n\
         [cluster.hooks]\nstop_command = \"echo by command: %h %p\"\n",
        tls.certificate, tls.key, tls.root_certificate
    );
    let configured = Configured::new(&cluster, agent, &more);
    assert!(configured.succeed("node status eu").contains("\"server\": \"running\""));
    assert_eq!(configured.succeed("node stop eu --immediate"), "stopped PostgreSQL (immediate)\n");
    assert_eq!(configured.succeed("node start eu"), "started PostgreSQL\n");

    part(&cluster);
    part_from_its_wal(&cluster, &|| drop(configured.succeed("node fence eu")));
    let timeline = beside.source(1).timeline.unwrap();
    let said = configured.succeed(&format!("node rejoin eu --source us --timeline {timeline} --slot lab_eu"));
    for step in ["pg_rewind cannot", "copied 127.0.0.1", "took the fence away", "started PostgreSQL"] {
        assert!(said.contains(step), "{said}");
    }
    check_rejoined(&cluster);

    // the other one has none
    assert_eq!(
        configured.succeed("node stop us"),
        format!("by command: 127.0.0.1 {}\n", cluster.node(1).port())
    );
    let said = configured.fail("node start us");
    assert!(said.contains("us has no agent, and there is no start_command"), "{said}");
    let said = configured.fail("node stop ap");
    assert!(said.contains("there is no node \"ap\"; there are eu, us"), "{said}");
}

#[test]
fn the_console_shows_agents_and_a_reload_brings_others() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    let tls = beside.tls("proxy");
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let herd = Setup::of_cluster(Arc::clone(&cluster))
        .set("cluster.0.nodes.0.agent", beside.address().to_string())
        .set("cluster.0.agents.certificate", path(&tls.certificate))
        .set("cluster.0.agents.key", path(&tls.key))
        .set("cluster.0.agents.root_certificate", path(&tls.root_certificate))
        .start();
    let console =
        |sql: &str| cluster.psql_at(herd.proxy(0).port(), herd.proxy(0).admin_login(), "pgherd", sql);
    let shown = console("SHOW AGENTS").unwrap();
    let start = format!("main|eu|{}|running|primary|f||", beside.address());
    assert!(shown.starts_with(&start) && shown.lines().count() == 1, "{shown}");

    let other = format!("127.0.0.1:{}", lab::free_port().unwrap());
    herd.proxy(0).write_configuration(|configuration| {
        configuration.set("cluster.0.nodes.0.agent", other.as_str());
        configuration.set("cluster.0.nodes.1.agent", beside.address().to_string());
    });
    console("RELOAD").unwrap();
    let shown = console("SHOW AGENTS").unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].contains("cannot connect to the agent"), "{shown}");
    assert!(lines[1].starts_with(&format!("main|us|{}|running|", beside.address())), "{shown}");

    // a key that does not fit is refused, and what was there stays
    herd.proxy(0).write_configuration(|configuration| {
        configuration.set("cluster.0.agents.key", path(&beside.tls("agent").key));
    });
    let refused = console("RELOAD").unwrap_err().to_string();
    assert!(refused.contains("do not go together"), "{refused}");
    assert_eq!(console("SHOW AGENTS").unwrap(), shown);
}

/// Twelve numbered arguments, tests without quotes, the new primary promoted over ssh: what scripts for Pgpool-II do.
const FAILOVER: &str = r#"#!/bin/bash
set -o xtrace
failed_id="$1"; failed_host="$2"; failed_port="$3"; failed_data="$4"
new_id="$5"; new_host="$6"; old_main_id="$7"; old_primary_id="$8"
new_port="$9"; new_data="${10}"; old_primary_host="${11}"; old_primary_port="${12}"
echo start: $# failed $failed_id $failed_host $failed_port $failed_data old $old_main_id $old_primary_host $old_primary_port
if [ $new_id -lt 0 ]; then
    echo all nodes are down
    exit 0
fi
if [ $old_primary_id != "-1" -a $failed_id != $old_primary_id ]; then
    echo a standby is down
    exit 0
fi
ssh -T -o StrictHostKeyChecking=no postgres@${new_host} "BIN/pg_ctl -D ${new_data} -w promote"
if [ $? -ne 0 ]; then
    echo promotion failed
    exit 1
fi
echo promoted $new_port
"#;

/// Runs on this machine what it is told to run on another.
const SSH: &str = "#!/bin/sh\nwhile [ \"${1#-}\" != \"$1\" ]; do case $1 in -o) shift;; esac; shift; done\nshift\nexec sh -c \"$*\"\n";

#[test]
fn a_failover_script_for_pgpool_runs_as_it_is() {
    let cluster = Lent::take();
    let data = |at: usize| format!(", data_directory = {:?}", cluster.node(at).data());
    let hooks = format!(
        "[cluster.hooks]\nfailover_command = \"{}/configured/failover.sh %d %h %p %D %m %H %M %P %r %R %N %S\"\n",
        cluster.directory().display()
    );
    let configured = Configured::new(&cluster, data, &hooks);
    let bin = cluster.binaries().directory().display().to_string();
    configured.script("failover.sh", &FAILOVER.replace("BIN", &bin));
    configured.script("ssh", SSH);
    cluster.kill(0).unwrap();

    let said = configured.succeed("hook failover_command us --new-primary eu --old-primary eu");
    assert!(said.contains("a standby is down"), "{said}");
    let said = configured.succeed("hook failover_command eu --old-primary eu");
    assert!(said.contains("start: 12 ") && said.contains("all nodes are down"), "{said}");
    assert!(cluster.is_standby(1).unwrap());

    let said = configured.succeed("hook failover_command eu --new-primary us --old-primary eu");
    let (eu, us) = (cluster.node(0), cluster.node(1));
    let start = format!(
        "start: 12 failed 0 127.0.0.1 {} {} old 0 127.0.0.1 {}",
        eu.port(),
        eu.data().display(),
        eu.port()
    );
    assert!(said.contains(&start), "{said}");
    assert!(said.contains(&format!("promoted {}", us.port())), "{said}");
    eventually("it is promoted", PATIENCE, || (!cluster.is_standby(1).unwrap()).then_some(()));
}

#[test]
fn hostile_names_inject_nothing() {
    let cluster = Lent::take();
    let mark = cluster.directory().join("injected");
    for (at, value) in
        ["/a'; touch MARK; '", "/a\"; touch MARK; \"", "/$(touch MARK)", "/`touch MARK`", "/a; touch MARK"]
            .iter()
            .enumerate()
    {
        let value = value.replace("MARK", &mark.display().to_string());
        let data = |_| format!(", data_directory = '''{value}'''");
        let command = r#"printf '%%s|' %D "%D" '%D' "$(printf '%%s' "%D")""#;
        let hooks = format!("[cluster.hooks]\nstart_command = '''{command}'''\n");
        let configured = Configured::new(&cluster, data, &hooks);
        let said = configured.succeed("hook start_command eu");
        assert_eq!(said, format!("{value}|").repeat(4), "{at}");
        assert!(!mark.exists(), "{value} was run");
    }
    // a name that is no name is not even loaded
    let name = |_| ", data_directory = '/d', zone = 'a; touch x'".to_owned();
    let said = Configured::new(&cluster, name, "").fail("hook start_command eu");
    assert!(said.contains("zone"), "{said}");
}

#[test]
fn a_command_that_fails_or_takes_too_long_is_told_and_hears_no_secrets() {
    let cluster = Lent::take();
    let hooks = "[cluster.hooks]\ntimeout = \"300ms\"\nstart_command = \"echo so what >&2; exit 7\"\n\
                 stop_command = \"sleep 1000\"\nrestart_command = \"env\"\n";
    let configured = Configured::new(&cluster, |_| String::new(), hooks);
    let said = configured.fail("node start eu");
    assert!(said.contains("start_command ended with exit status: 7: so what"), "{said}");
    let said = configured.fail("node stop eu");
    assert!(said.contains("stop_command: it took longer than 300ms"), "{said}");
    let said = configured.succeed("node restart eu");
    assert!(said.contains("PGHERD_NODE=eu\n") && said.contains("PGHERD_HOOK=restart_command\n"), "{said}");
    assert!(!said.contains("PGHERD__"), "{said}");
    assert_eq!(configured.succeed("hook stop_command eu --print"), "sleep 1000\n");
    let said = configured.fail("hook no_command eu");
    assert!(said.contains("there are failover_command, "), "{said}");
}
