//! `pgherd node` and `pgherd hook`: what the proxy can do to a node, by hand.

use std::{process::ExitCode, time::Duration};

use agent::{Acted, Action, Hands, Hook, SourceRequest, StopMode};
use anyhow::{Context, bail, ensure};
use config::{ClusterSettings, LogFormat, LogSettings, Settings};

use crate::{
    arguments::{Configured, HookArguments, NodeArguments, NodeVerb, environment},
    log,
};

/// Does something to a node and prints what was done.
///
/// # Errors
/// When it was not done.
pub(crate) fn node(arguments: &NodeArguments) -> anyhow::Result<ExitCode> {
    let Some(settings) = load(&arguments.configured)? else { return Ok(ExitCode::FAILURE) };
    let hands = hands(&settings, arguments.cluster.as_deref())?;
    let name = arguments.node.as_str();
    ensure!(hands.node(name).is_some(), "there is no node {name:?}; there are {}", names(&hands));
    let limit = Duration::from_secs(arguments.timeout);
    let source = arguments.source.as_deref();
    let Some(action) = action(arguments, &hands)? else {
        let status = wait(hands.status(name, limit))?;
        let status = status.with_context(|| format!("{name} has no agent"))??;
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(ExitCode::SUCCESS);
    };
    let scene = hands.scene(name, source, None).context("the node is there")?;
    match wait(hands.act(&action, &scene, limit))?? {
        Acted::Agent(steps) => steps.iter().for_each(|step| println!("{step}")),
        Acted::Hook(output) => {
            print!("{}", output.stdout);
            eprint!("{}", output.stderr);
        }
        Acted::Nothing => bail!("{name} has no agent, and there is no {}", action.hook()),
    }
    Ok(ExitCode::SUCCESS)
}

/// `None` asks for the status.
fn action(arguments: &NodeArguments, hands: &Hands) -> anyhow::Result<Option<Action>> {
    let mode = if arguments.immediate { StopMode::Immediate } else { StopMode::Fast };
    Ok(Some(match arguments.verb {
        NodeVerb::Status => return Ok(None),
        NodeVerb::Start => Action::Start,
        NodeVerb::Stop => Action::Stop(mode),
        NodeVerb::Restart => Action::Restart(mode),
        NodeVerb::Fence => Action::Fence,
        NodeVerb::Unfence => Action::Unfence,
        NodeVerb::Rejoin => {
            let name = arguments.source.as_deref().context("rejoin needs --source")?;
            let source = hands.node(name);
            let source =
                source.with_context(|| format!("there is no node {name:?}; there are {}", names(hands)))?;
            ensure!(name != arguments.node, "a node does not follow itself");
            Action::Rejoin(SourceRequest {
                host: source.party.host.clone(),
                port: source.party.port,
                timeline: arguments.timeline,
                slot: arguments.slot.clone(),
                application_name: None,
                timeout_ms: None,
            })
        }
    }))
}

/// Runs a command of the configuration, or shows it.
///
/// # Errors
/// When there is none, or it fails.
pub(crate) fn hook(arguments: &HookArguments) -> anyhow::Result<ExitCode> {
    let known = || Hook::ALL.map(Hook::name).join(", ");
    let hook = Hook::ALL.into_iter().find(|hook| hook.name() == arguments.name);
    let hook = hook.with_context(|| format!("there is no {:?}; there are {}", arguments.name, known()))?;
    let Some(settings) = load(&arguments.configured)? else { return Ok(ExitCode::FAILURE) };
    let hands = hands(&settings, arguments.cluster.as_deref())?;
    let (new, old) = (arguments.new_primary.as_deref(), arguments.old_primary.as_deref());
    for name in [Some(arguments.node.as_str()), new, old].into_iter().flatten() {
        ensure!(hands.node(name).is_some(), "there is no node {name:?}; there are {}", names(&hands));
    }
    let scene = hands.scene(&arguments.node, new, old).context("the node is there")?;
    if arguments.print {
        println!("{}", hands.hooks().script(hook, &scene).with_context(|| format!("there is no {hook}"))?);
        return Ok(ExitCode::SUCCESS);
    }
    let output = wait(hands.hooks().run(hook, &scene, Duration::MAX))??;
    print!("{}", output.stdout);
    eprint!("{}", output.stderr);
    Ok(ExitCode::SUCCESS)
}

/// The configuration; `None` if it is wrong, which has been printed then.
fn load(configured: &Configured) -> anyhow::Result<Option<Settings>> {
    match configured.source().load(environment()) {
        Ok(settings) => {
            log::start(&LogSettings { format: LogFormat::Text, level: "warn".to_owned() })?;
            Ok(Some(settings))
        }
        Err(mistakes) => {
            eprintln!("{mistakes}");
            Ok(None)
        }
    }
}

fn hands(settings: &Settings, name: Option<&str>) -> anyhow::Result<Hands> {
    let known = settings.clusters.iter().map(|cluster| cluster.topology.cluster.as_str());
    let fits = |cluster: &&ClusterSettings| name.is_none_or(|name| name == cluster.topology.cluster);
    let mut fitting = settings.clusters.iter().filter(fits);
    let known = || known.clone().collect::<Vec<_>>().join(", ");
    let cluster =
        fitting.next().with_context(|| format!("there is no such cluster; there are {}", known()))?;
    ensure!(fitting.next().is_none(), "say which with --cluster: {}", known());
    Ok(Hands::load(&cluster.hands)?)
}

fn names(hands: &Hands) -> String {
    hands.nodes().iter().map(|node| node.party.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn wait<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot start the runtime")?.block_on(work))
}
