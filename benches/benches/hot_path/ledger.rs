//! Accounting of replies, for one transaction of `pgbench -S`.

use std::hint::black_box;

use criterion::Criterion;
use protocol::{Ledger, Origin, Owed};

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    let transactions: [(&str, &[Owed], &[u8]); 2] = [
        ("simple", &[Owed::Query], b"TDCZ"),
        ("prepared", &[Owed::Bind, Owed::DescribePortal, Owed::Execute, Owed::Sync], b"2TDCZ"),
    ];
    for (name, requests, answers) in transactions {
        let mut ledger = Ledger::default();
        group.bench_function(name, |bencher| bencher.iter(|| run(&mut ledger, requests, answers)));
    }
    group.finish();
}

fn run(ledger: &mut Ledger, requests: &[Owed], answers: &[u8]) {
    for &owed in requests {
        ledger.owe(black_box(owed), Origin::Client);
    }
    for &tag in answers {
        let verdict = ledger.receive(black_box(tag), b"I");
        black_box(verdict).expect("the answers are those to the requests");
    }
    assert!(ledger.is_settled());
}
