//! What a cluster's nodes can be acted on with: agents and commands.

use agent::{HandsSettings, Hook, HookSettings, NodeSettings, Party, TlsFiles};

use crate::{
    file::Content,
    raw::WholeCluster,
    section::{Context, Field},
    value::CommandLine,
};

/// `nodes` are the cluster's as they were built, in the same order.
pub(super) fn build(
    cluster: &WholeCluster,
    nodes: &[topology::NodeSettings],
    context: &mut Context<'_>,
) -> HandsSettings {
    let mut all = Vec::new();
    for ((raw, node), id) in cluster.nodes.iter().zip(nodes).zip(0_u16..) {
        let data_directory = raw.data_directory.value.as_ref().map(|folder| folder.0.clone());
        all.push(NodeSettings {
            party: Party {
                id,
                name: node.name.clone(),
                host: node.host.clone(),
                port: node.port,
                data_directory: data_directory.unwrap_or_default(),
            },
            agent: raw.agent.value.as_ref().map(|address| address.0.clone()),
        });
    }
    let tls = tls(cluster, context);
    HandsSettings { cluster: cluster.keys.name.value.0.clone(), nodes: all, tls, hooks: hooks(cluster) }
}

fn tls(cluster: &WholeCluster, context: &mut Context<'_>) -> Option<TlsFiles> {
    let agents = &cluster.agents;
    let certificate = context.check_file(&agents.certificate, Content::Public);
    let key = context.check_file(&agents.key, Content::Secret);
    let root_certificate = context.check_file(&agents.root_certificate, Content::Public);
    let any = [&certificate, &key, &root_certificate].iter().any(|file| file.is_some());
    let agent = cluster.nodes.iter().map(|node| &node.agent).find(|agent| agent.value.is_some());
    match (certificate, key, root_certificate) {
        (Some(certificate), Some(key), Some(root_certificate)) => {
            Some(TlsFiles { certificate, key, root_certificate })
        }
        _ => {
            let problem = "needs certificate, key and root_certificate in [cluster.agents]";
            if let Some(agent) = agent {
                context.mistakes.push(agent.mistake(problem));
            } else if any {
                let written = [&agents.certificate, &agents.key, &agents.root_certificate];
                if let Some(field) = written.into_iter().find(|field| field.value.is_some()) {
                    context.mistakes.push(field.mistake("certificate, key and root_certificate go together"));
                }
            }
            None
        }
    }
}

fn hooks(cluster: &WholeCluster) -> HookSettings {
    let hooks = &cluster.hooks;
    let field = |hook: Hook| -> &Field<Option<CommandLine>> {
        match hook {
            Hook::Failover => &hooks.failover_command,
            Hook::FollowPrimary => &hooks.follow_primary_command,
            Hook::Rejoin => &hooks.rejoin_command,
            Hook::Start => &hooks.start_command,
            Hook::Stop => &hooks.stop_command,
            Hook::Restart => &hooks.restart_command,
            Hook::Fence => &hooks.fence_command,
            Hook::Unfence => &hooks.unfence_command,
        }
    };
    let command = |hook: Hook| Some((hook, field(hook).value.as_ref()?.0.clone()));
    HookSettings {
        commands: Hook::ALL.into_iter().filter_map(command).collect(),
        timeout: hooks.timeout.value.0,
    }
}
