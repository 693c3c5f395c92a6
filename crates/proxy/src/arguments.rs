//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A PostgreSQL proxy that pools connections, sends reads to near replicas and follows failovers.
#[derive(Debug, Parser)]
#[command(name = "pgherd", version, about, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve clients
    Run(RunArguments),
    /// Start a cluster of several regions with a proxy in each, to play with
    Demo(DemoArguments),
    /// Check a configuration: exit code 0 if it is valid, 1 if not, 2 for wrong arguments
    CheckConfig(CheckArguments),
    /// Ask the nodes what would break a failover, and say what mends it: exit code 0 if nothing would, 1 if something
    /// would or the configuration is wrong, 2 for wrong arguments
    Doctor(DoctorArguments),
    /// Print the SQL that makes pgherd's roles in PostgreSQL and grants them what they need, and no more
    InitSql(InitSqlArguments),
    /// Read a password from standard input and print its SCRAM-SHA-256 verifier
    Hash,
    /// Look after the PostgreSQL server of this machine: start, stop, rewind, copy and fence it when a proxy says so
    Agent(AgentArguments),
    /// Make the keys and certificates that proxies and agents know each other by
    Keygen(KeygenArguments),
    /// Do something to a node, as the proxy would: by its agent, or else by a command of [cluster.hooks]
    Node(NodeArguments),
    /// Run a command of [cluster.hooks] by hand, to try it
    Hook(HookArguments),
}

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArguments {
    /// What to run.
    #[command(flatten)]
    pub(crate) configured: Configured,
    /// Take the listening sockets over from the process that has them, if there is one at proxy.takeover_socket; its
    /// clients stay with it until they leave
    #[arg(long)]
    takeover: bool,
}

/// How a process comes by its listening sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It opens them.
    Afresh,
    /// It takes them over from another process, if there is one.
    Takeover,
}

impl RunArguments {
    /// How it comes by its listening sockets.
    pub(crate) fn start(&self) -> Start {
        if self.takeover { Start::Takeover } else { Start::Afresh }
    }
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Args)]
pub(crate) struct Configured {
    /// The configuration file. Without it DATABASE_URL is used if it is set, else /etc/pgherd/pgherd.toml. Variables
    /// PGHERD__SECTION__KEY go over either.
    #[arg(short, long, value_name = "FILE", env = "PGHERD_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

impl Configured {
    /// The file or URL to load, now and on every reload.
    pub(crate) fn source(&self) -> config::Source {
        config::Source::choose(
            self.config.clone(),
            std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()),
        )
    }
}

/// Arguments of `check-config`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArguments {
    /// What to check.
    #[command(flatten)]
    pub(crate) configured: Configured,
    /// Print one JSON object to standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DoctorArguments {
    /// Whose nodes to ask.
    #[command(flatten)]
    pub(crate) configured: Configured,
    /// Write a marker on the primary instead, and see when standbys replay it, waiting for them at most this long
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5",
          value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) replication: Option<u64>,
    /// Ask for what promoting takes, whatever the configuration says
    #[arg(long)]
    pub(crate) manage: bool,
    /// Print what is as it should be, too
    #[arg(long)]
    pub(crate) all: bool,
    /// Print one JSON object to standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `init-sql`.
#[derive(Debug, Clone, Args)]
pub(crate) struct InitSqlArguments {
    /// A configuration file to take roles, databases, auth.query and cluster.manage from; without it their defaults count
    #[arg(short, long, value_name = "FILE", env = "PGHERD_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The cluster of the configuration; without it the first one
    #[arg(long, value_name = "NAME", requires = "config")]
    pub(crate) cluster: Option<String>,
    /// The role that pgherd logs in as; without it cluster.monitor.user, which is "pgherd" by default
    #[arg(long, value_name = "ROLE")]
    pub(crate) user: Option<String>,
    /// The role by which agents rewind and copy nodes; without it there is none
    #[arg(long, value_name = "ROLE")]
    pub(crate) agent_user: Option<String>,
    /// Let pgherd promote standbys, not only follow the promotions of others, whatever the configuration says
    #[arg(long)]
    pub(crate) manage: bool,
    /// The major version of the servers, 14 to 18; without it the script looks when it runs
    #[arg(long, value_name = "N")]
    pub(crate) server_version: Option<doctor::ServerVersion>,
    /// Set the configured password, as a SCRAM verifier
    #[arg(long, requires = "config")]
    pub(crate) password: bool,
}

/// Arguments of `agent`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AgentArguments {
    /// The agent's own file
    #[arg(short, long, value_name = "FILE", default_value = config::DEFAULT_AGENT_FILE)]
    pub(crate) config: PathBuf,
}

/// Arguments of `keygen`.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeygenArguments {
    /// Where the files go. What is there stays, so that agents can be added later
    #[arg(long, value_name = "D")]
    pub(crate) dir: PathBuf,
    /// An agent, by the host name or IP address that proxies call it by; or a name for its files and several of these:
    /// eu=10.0.1.1,db-eu.example
    #[arg(long = "agent", value_name = "NAME[=HOST,…]")]
    pub(crate) agents: Vec<String>,
}

/// What `node` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum NodeVerb {
    /// Ask its agent how it is
    Status,
    /// Start PostgreSQL
    Start,
    /// Stop it
    Stop,
    /// Stop and start it
    Restart,
    /// Make it a running standby of another node: by rewinding it, or else by copying
    Rejoin,
    /// Stop it for good
    Fence,
    /// Let it be started again
    Unfence,
}

/// Arguments of `node`.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeArguments {
    /// What to do
    pub(crate) verb: NodeVerb,
    /// The node's name
    pub(crate) node: String,
    /// Of which configuration.
    #[command(flatten)]
    pub(crate) configured: Configured,
    /// The cluster; may be left out if there is only one
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// End PostgreSQL at once, without a clean shutdown
    #[arg(long)]
    pub(crate) immediate: bool,
    /// The node to follow, with `rejoin`
    #[arg(long, value_name = "NODE", required_if_eq("verb", "rejoin"))]
    pub(crate) source: Option<String>,
    /// The timeline that the node to follow is on, so that a rewind waits until its files say so
    #[arg(long, value_name = "N")]
    pub(crate) timeline: Option<u32>,
    /// The replication slot there; by default the one of the node's own configuration
    #[arg(long, value_name = "SLOT")]
    pub(crate) slot: Option<String>,
    /// Seconds that it may take
    #[arg(long, value_name = "S", default_value_t = 3600)]
    pub(crate) timeout: u64,
}

/// Arguments of `hook`.
#[derive(Debug, Clone, Args)]
pub(crate) struct HookArguments {
    /// The key of the command, such as failover_command
    pub(crate) name: String,
    /// The node that it is about
    pub(crate) node: String,
    /// Of which configuration.
    #[command(flatten)]
    pub(crate) configured: Configured,
    /// The cluster; may be left out if there is only one
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// The primary from now on
    #[arg(long, value_name = "NODE")]
    pub(crate) new_primary: Option<String>,
    /// The primary before
    #[arg(long, value_name = "NODE")]
    pub(crate) old_primary: Option<String>,
    /// Show what would be run, and run nothing
    #[arg(long)]
    pub(crate) print: bool,
}

/// Arguments of `demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArguments {
    /// How many regions, each with a node and a proxy
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) regions: u8,
    /// The first proxy's port; the others take the next ones that are free
    #[arg(long, value_name = "P", default_value_t = 5432, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    pub(crate) base_port: u16,
    /// Where the files go; a temporary folder by default
    #[arg(long, value_name = "D")]
    pub(crate) dir: Option<PathBuf>,
    /// Keep the files at the end
    #[arg(long)]
    pub(crate) keep: bool,
    /// End by itself after this many seconds
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<u64>,
}

/// The environment as the configuration takes it. What is not UTF-8 is replaced, so that it is found and reported.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[track_caller]
    fn parse(line: &str) -> Result<Command, i32> {
        Arguments::try_parse_from(line.split(' '))
            .map(|arguments| arguments.command)
            .map_err(|error| error.exit_code())
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn commands_have_their_options() {
        let Ok(Command::Run(run)) = parse("pgherd run -c a.toml") else { panic!("run") };
        assert_eq!(run.configured.source(), config::Source::File("a.toml".into()));
        assert_eq!(run.start(), Start::Afresh);
        let Ok(Command::Run(run)) = parse("pgherd run --takeover -c a.toml") else { panic!("run") };
        assert_eq!(run.start(), Start::Takeover);
        let Ok(Command::CheckConfig(check)) = parse("pgherd check-config --config a.toml --json") else {
            panic!("check-config")
        };
        assert!(check.json);
        let Ok(Command::Demo(demo)) =
            parse("pgherd demo --regions 2 --base-port 6000 --dir /x --keep --seconds 9")
        else {
            panic!("demo")
        };
        assert_eq!((demo.regions, demo.base_port, demo.keep, demo.seconds), (2, 6000, true, Some(9)));
        assert_eq!(demo.dir, Some("/x".into()));
        assert!(matches!(parse("pgherd hash"), Ok(Command::Hash)));
        let Ok(Command::InitSql(init)) =
            parse("pgherd init-sql --user a --agent-user b --manage --server-version 14")
        else {
            panic!("init-sql")
        };
        assert_eq!(
            (init.user.as_deref(), init.agent_user.as_deref(), init.manage),
            (Some("a"), Some("b"), true)
        );
        let Ok(Command::Node(node)) = parse("pgherd node rejoin eu --source us -c a.toml") else {
            panic!("node")
        };
        assert_eq!((node.verb, node.source.as_deref(), node.timeout), (NodeVerb::Rejoin, Some("us"), 3600));
    }

    #[test]
    fn wrong_usage_ends_with_2_and_help_with_0() {
        for line in [
            "pgherd",
            "pgherd fly",
            "pgherd node rejoin eu",
            "pgherd demo --regions 0",
            "pgherd demo --regions 6",
            "pgherd run x",
            "pgherd init-sql --server-version 13",
            "pgherd init-sql --password",
        ] {
            assert_eq!(parse(line).err(), Some(2), "{line}");
        }
        assert_eq!(parse("pgherd --version").err(), Some(0));
    }
}
