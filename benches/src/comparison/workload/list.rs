//! All workloads, in the order of the report.

use super::{Encryption, Entry, Held, Job, Pool, Script, When, Workload};

/// Of one select a transaction or whatever the job says, by 16 plain clients over 20 server connections.
const USUAL: Workload = Workload {
    name: "",
    what: "",
    job: Job::Memory(Held::Idle),
    clients: 16,
    pool: Pool::Twenty,
    encryption: Encryption::Plain,
    idle: 0,
    when: When::Both,
};

const fn pgbench(
    name: &'static str,
    what: &'static str,
    script: Script,
    clients: u16,
    when: When,
) -> Workload {
    Workload { name, what, job: Job::Pgbench(script), clients, when, ..USUAL }
}

/// All of them.
pub(crate) const ALL: &[Workload] = &[
    pgbench("simple-1", "select, simple", Script::Simple, 1, When::QuickOneCpu),
    pgbench("extended-1", "select, extended", Script::Extended, 1, When::OneCpu),
    pgbench("prepared-1", "select, prepared", Script::Prepared, 1, When::OneCpu),
    Workload {
        pool: Pool::Eight,
        ..pgbench("simple-16-pool8", "select, simple", Script::Simple, 16, When::QuickOneCpu)
    },
    Workload {
        pool: Pool::Eight,
        ..pgbench("prepared-16-pool8", "select, prepared", Script::Prepared, 16, When::QuickOneCpu)
    },
    pgbench("simple-16", "select, simple", Script::Simple, 16, When::QuickBoth),
    pgbench("extended-16", "select, extended", Script::Extended, 16, When::QuickOneCpu),
    pgbench("prepared-16", "select, prepared", Script::Prepared, 16, When::QuickBoth),
    pgbench("simple-64", "select, simple", Script::Simple, 64, When::QuickOneCpu),
    pgbench("prepared-64", "select, prepared", Script::Prepared, 64, When::OneCpu),
    pgbench("simple-200", "select, simple", Script::Simple, 200, When::QuickOneCpu),
    pgbench("extended-200", "select, extended", Script::Extended, 200, When::OneCpu),
    pgbench("prepared-200", "select, prepared", Script::Prepared, 200, When::OneCpu),
    pgbench("tpcb-16", "TPC-B, simple", Script::TpcB, 16, When::QuickOneCpu),
    Workload {
        pool: Pool::Eight,
        ..pgbench("set-16-pool8", "SET of a tracked setting, select", Script::Set, 16, When::Both)
    },
    Workload {
        encryption: Encryption::Tls,
        ..pgbench("tls-16", "select, simple, over TLS", Script::Simple, 16, When::QuickOneCpu)
    },
    pgbench("busy-8", "select, simple", Script::Simple, 8, When::OnlyQuickOneCpu),
    Workload {
        idle: 5000,
        ..pgbench("busy-8-idle-5000", "the same beside 5,000 idle", Script::Simple, 8, When::OnlyQuickOneCpu)
    },
    pgbench("split-16", "9 selects to 1 update, over 3 nodes", Script::Split, 16, When::Nodes),
    pgbench("rows-27b", "10 MB of rows of 27 bytes", Script::Rows27B, 1, When::OnlyQuickOneCpu),
    pgbench("rows-1kib", "10 MB of rows of 1 KiB", Script::Rows1Kib, 1, When::OnlyQuickOneCpu),
    pgbench("rows-1mib", "10 MB of rows of 1 MiB", Script::Rows1Mib, 1, When::OneCpu),
    Workload {
        name: "copy-in",
        what: "COPY of 10 MB to the server, rows of 1 KiB",
        job: Job::Copy,
        clients: 1,
        when: When::OneCpu,
        ..USUAL
    },
    Workload {
        name: "logins-scram",
        what: "connect by SCRAM, one select",
        job: Job::Logins(Entry::Scram),
        when: When::QuickOneCpu,
        ..USUAL
    },
    Workload {
        name: "logins-trust",
        what: "connect without a password, one select",
        job: Job::Logins(Entry::Trust),
        when: When::Both,
        ..USUAL
    },
    Workload {
        name: "logins-tls",
        what: "connect over TLS by SCRAM, one select",
        job: Job::Logins(Entry::Scram),
        encryption: Encryption::Tls,
        when: When::QuickOneCpu,
        ..USUAL
    },
    Workload { name: "memory-plain", what: "idle clients", clients: 5000, when: When::QuickOneCpu, ..USUAL },
    Workload {
        name: "memory-tls",
        what: "idle clients over TLS",
        clients: 5000,
        encryption: Encryption::Tls,
        when: When::QuickOneCpu,
        ..USUAL
    },
    Workload {
        name: "memory-burst",
        what: "idle clients after a message of 64 MiB each",
        job: Job::Memory(Held::Burst),
        clients: 4,
        when: When::QuickOneCpu,
        ..USUAL
    },
    Workload {
        name: "memory-unread",
        what: "clients who do not read their 10 MB",
        job: Job::Memory(Held::Unread),
        when: When::QuickOneCpu,
        ..USUAL
    },
];

/// The workload of that name.
///
/// # Errors
/// A text that lists those there are.
pub(crate) fn find(name: &str) -> Result<&'static Workload, String> {
    ALL.iter().find(|workload| workload.name == name).ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|workload| workload.name).collect();
        format!("there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_found_by_its_name() {
        for workload in ALL {
            assert_eq!(find(workload.name), Ok(workload), "names are unique");
        }
        assert!(find("simpel-16").unwrap_err().contains("simple-16, "));
    }
}
