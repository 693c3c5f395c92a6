use pool::PoolMode;
use routing::{Decision, Policy, Proximity, Request, Verdict, Wants, decide, explain as verdicts};
use session::{ClusterHandle, DatabaseSettings};
use sql::{Class, Effect, Kind, NoFunctions, PinCause, classify};
use topology::{NodeView, Snapshot};
use wire::{SqlState, message::error::ErrorMessage};

use super::{View, stats::millis};
use crate::{
    console::no_database,
    table::{Cell, Column, Table, columns},
};

/// A row for the text, one for the decision, and one for each node.
pub(super) const COLUMNS: &[Column] =
    columns![item Text, node Text, region Text, verdict Text, reason Text, detail Text];

/// Says where a text would go, sent now by a client that has not written anything, outside a transaction.
///
/// # Errors
/// 3D000 if there is no such database.
pub(super) fn explain(
    view: &View<'_>,
    database: Option<&str>,
    text: &str,
    table: &mut Table,
) -> Result<(), ErrorMessage> {
    let named = match database {
        Some(name) => Some((name, view.world.database(name).ok_or_else(|| no_database(name))?)),
        None => {
            view.world.databases.iter().find(|entry| entry.name != "*").map(|entry| (&*entry.name, entry))
        }
    };
    let settings = named.map(|(_, settings)| settings).or(view.world.databases.first());
    let Some(cluster) = view.world.clusters.get(settings.map_or(0, |settings| settings.cluster)) else {
        return Err(ErrorMessage::error(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "no cluster is configured",
        ));
    };
    let class = classify_for(named, cluster, text);
    table.push([
        "statement".into(),
        Cell::Null,
        Cell::Null,
        kind(class.kind).into(),
        effect(class.effect),
        match named {
            Some((name, _)) => format!("with the functions of database {name}").into(),
            None => "without knowledge of functions; EXPLAIN ROUTE FOR names a database".into(),
        },
    ]);
    let snapshot = cluster.snapshots.load_full();
    let request = request(settings, &class, text);
    let routing = &view.world.routing;
    let decision = decide(&request, routing, &snapshot, view.instant, |_| 0, 0);
    table.push(decision_row(decision, &request, settings, &snapshot));
    for explanation in verdicts(&request, routing, &snapshot, view.instant) {
        if let Some(node) = snapshot.node(explanation.node) {
            table.push(node_row(node, explanation.verdict));
        }
    }
    Ok(())
}

fn classify_for(named: Option<(&str, &DatabaseSettings)>, cluster: &ClusterHandle, text: &str) -> Class {
    match named {
        Some((name, settings)) => {
            let (_, functions) = cluster.functions.functions(settings.server_name.as_deref().unwrap_or(name));
            classify(text.as_bytes(), &*functions)
        }
        None => classify(text.as_bytes(), &NoFunctions),
    }
}

/// What a session would ask of routing, had it this text at hand and nothing else.
fn request<'a>(settings: Option<&DatabaseSettings>, class: &Class, text: &'a str) -> Request<'a> {
    let read = matches!(class.kind, Kind::Read | Kind::Empty | Kind::Begin { replica: true });
    let per_transaction = settings.is_none_or(|settings| settings.pool.mode != PoolMode::Session);
    let hint = if class.hinted { sql::hint(text.as_bytes()) } else { None };
    Request {
        wants: if read && per_transaction { Wants::Replica } else { Wants::Primary },
        policy: settings.and_then(|settings| settings.policy).unwrap_or_default(),
        written: None,
        hint: hint.map(|hint| routing::Hint {
            target: hint.target.map(|target| match target {
                sql::HintTarget::Primary => routing::Target::Primary,
                sql::HintTarget::Replica => routing::Target::Replica,
            }),
            region: hint.region,
            max_lag: hint.max_lag,
        }),
    }
}

fn decision_row(
    decision: Decision,
    request: &Request<'_>,
    settings: Option<&DatabaseSettings>,
    snapshot: &Snapshot,
) -> [Cell; 6] {
    let mode = settings.map_or(PoolMode::Transaction, |settings| settings.pool.mode);
    let policy = if request.policy == Policy::Smart { "" } else { request.policy.as_str() };
    let detail = match (policy, mode) {
        ("", PoolMode::Transaction | PoolMode::Statement) => Cell::Null,
        ("", PoolMode::Session) => "session pooling: everything goes to the primary".into(),
        (policy, _) => format!("policy of the database: {policy}").into(),
    };
    let (node, verdict, reason): (_, &'static str, Cell) = match decision {
        Decision::Use { node, reason } => {
            (snapshot.node(node), "use", format!("{}: {reason}", reason.as_str()).into())
        }
        Decision::Hold(reason) => (None, "hold", reason.to_string().into()),
        Decision::Refuse(reason) => (None, "refuse", reason.to_string().into()),
    };
    let name = node.map(|node| &node.name);
    ["decision".into(), name.into(), node.map(|node| &node.region).into(), verdict.into(), reason, detail]
}

fn node_row(node: &NodeView, verdict: Verdict) -> [Cell; 6] {
    let (verdict, reason): (&'static str, Cell) = match verdict {
        Verdict::Primary => ("primary", Cell::Null),
        Verdict::Fit(Proximity::Zone) => ("fit", "in this zone".into()),
        Verdict::Fit(Proximity::Region) => ("fit", "in this region, or the one asked for".into()),
        Verdict::Fit(Proximity::Elsewhere) => ("fit", "in another region".into()),
        Verdict::Unfit(unfit) => ("unfit", format!("{}: {unfit}", unfit.as_str()).into()),
    };
    let mut numbers = Vec::new();
    if let Some(lag) = node.lag {
        numbers.push(format!("lag {} ms", millis(lag)));
    }
    if let Some(bytes) = node.lag_bytes {
        numbers.push(format!("{bytes} B behind"));
    }
    if let Some(rtt) = node.rtt {
        numbers.push(format!("round trip {:.1} ms", rtt.as_secs_f64() * 1000.0));
    }
    let detail = numbers.join(", ");
    ["node".into(), (&node.name).into(), (&node.region).into(), verdict.into(), reason, detail.into()]
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Empty => "empty",
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Begin { replica: true } => "begins a read-only transaction",
        Kind::Begin { replica: false } => "begins a transaction",
        Kind::Commit { .. } => "commit",
        Kind::Rollback { .. } => "rollback",
        Kind::Control => "transaction control",
        Kind::Session => "session",
    }
}

/// What stays behind on the server connection.
fn effect(effect: Effect) -> Cell {
    match effect {
        Effect::None | Effect::LocalSettings => return Cell::Null,
        Effect::Pin(causes) => {
            let causes: Vec<_> = causes.iter().map(cause).collect();
            return format!("keeps its server connection: {}", causes.join(", ")).into();
        }
        Effect::Settings => "changes settings, which are followed",
        Effect::Listen => "listens over a shared connection",
        Effect::Unlisten => "listens no longer",
        Effect::DiscardAll => "resets the session",
        Effect::DeallocateAll | Effect::Deallocate => "forgets prepared statements",
    }
    .into()
}

fn cause(cause: PinCause) -> &'static str {
    match cause {
        PinCause::TemporaryTable => "temporary object",
        PinCause::Listen => "LISTEN",
        PinCause::SqlPrepare => "PREPARE",
        PinCause::AdvisoryLock => "advisory lock",
        PinCause::HoldCursor => "WITH HOLD",
        PinCause::Load => "LOAD",
        PinCause::Settings => "settings that cannot be followed",
        PinCause::SequenceValue => "currval or lastval",
        PinCause::Mixed => "several effects",
    }
}
