//! A cluster in which things are broken and mended again, by what CHECK CLUSTER prints.

use std::{cell::Cell, fs, panic};

use e2e::{Herd, Setup, eventually};
use lab::StopMode;

use super::{PATIENCE, Row, check_cluster};

/// A herd whose cluster belongs to one test.
pub(super) struct Patient(pub(super) Herd);

impl Patient {
    /// One that nothing has been done to yet.
    pub(super) fn healthy(setup: Setup) -> Self {
        Self(setup.start())
    }

    pub(super) fn name(&self, node: usize) -> &str {
        self.0.cluster().node(node).name()
    }

    /// Runs SQL as a superuser on a node.
    pub(super) fn sql(&self, node: usize, sql: &str) {
        self.0.cluster().psql(node, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(super) fn set(&self, node: usize, name: &str, value: &str) {
        self.sql(node, &format!("alter system set {name} = '{value}'"));
        self.sql(node, "select pg_reload_conf()");
    }

    pub(super) fn set_and_restart(&self, node: usize, name: &str, value: &str) {
        self.sql(node, &format!("alter system set {name} = '{value}'"));
        self.restart(node);
    }

    pub(super) fn restart(&self, node: usize) {
        self.0.cluster().restart(node, StopMode::Fast).unwrap();
    }

    /// Waits until all standbys receive from the primary again, which they try every 5 s
    /// (`wal_retrieve_retry_interval`).
    pub(super) fn wait_until_all_stream(&self) {
        let standbys = (self.0.cluster().nodes().len() - 1).to_string();
        let sql = "select count(*) from pg_stat_replication where state = 'streaming'";
        eventually("all standbys stream", PATIENCE, || {
            (self.0.psql_directly(sql).ok()? == standbys).then_some(())
        });
    }

    /// What is wrong about this.
    pub(super) fn trouble(&self, node: usize, check: &str) -> Option<Row> {
        let name = self.name(node);
        let rows = check_cluster(&self.0).into_iter();
        rows.filter(|row| row.verdict != "ok").find(|row| row.node == name && row.check == check)
    }

    /// Waits for a row; it may take a moment until a setting has come true everywhere.
    #[track_caller]
    pub(super) fn finds(&self, node: usize, check: &str, verdict: &str) -> Row {
        let what = format!("{check} of {}", self.name(node));
        let row = eventually(&what, PATIENCE, || self.trouble(node, check));
        assert_eq!(row.verdict, verdict, "{row:?}");
        assert!(!row.why.is_empty(), "{row:?}");
        row
    }

    #[track_caller]
    pub(super) fn finds_no_more(&self, node: usize, check: &str) {
        let what = format!("{check} of {} is mended", self.name(node));
        let last = Cell::new(None);
        let told = |row: Option<Row>| {
            let is_gone = row.is_none();
            last.set(row);
            is_gone.then_some(())
        };
        let waiting = || eventually(&what, PATIENCE, || told(self.trouble(node, check)));
        let waited = panic::catch_unwind(panic::AssertUnwindSafe(waiting));
        assert!(waited.is_ok(), "{what}: not by now: {:?}", last.take());
    }

    /// A row comes, its fix is applied, and it goes.
    #[track_caller]
    pub(super) fn is_told_and_mended(&self, node: usize, check: &str, verdict: &str) -> Row {
        let row = self.finds(node, check, verdict);
        self.apply(node, &row.fix);
        self.finds_no_more(node, check);
        row
    }

    /// Does as a fix says: lines of pg_hba.conf into that file, everything else into psql.
    #[track_caller]
    pub(super) fn apply(&self, node: usize, fix: &str) {
        assert!(!fix.is_empty(), "nothing mends it");
        let cluster = self.0.cluster();
        let (lines, statements): (Vec<&str>, Vec<&str>) =
            fix.lines().partition(|line| line.starts_with("host "));
        if !lines.is_empty() {
            let file = cluster.node(node).data().join("pg_hba.conf");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, format!("{text}{}\n", lines.join("\n"))).unwrap();
        }
        let on = if fix.contains("-- on the primary") { cluster.primary().unwrap() } else { node };
        let statements = statements.join("\n").replace("\\connect \"postgres\"", "\\connect postgres");
        self.sql(on, &statements);
        if fix.contains("-- then restart the server") {
            self.restart(node);
        }
    }
}
