//! Statement texts to classes.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use sql::{Kind, NoFunctions, classify, is_commit, may_name_statements, shape};

const SELECT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;";

/// What `pgbench` sends in a transaction of its own, that of TPC-B.
const TPC_B: [(&str, &str, Kind); 7] = [
    ("begin", "BEGIN;", Kind::Begin { replica: false }),
    (
        "update_account",
        "UPDATE pgbench_accounts SET abalance = abalance + -1234 WHERE aid = 12345;",
        Kind::Write,
    ),
    ("select", SELECT, Kind::Read),
    ("update_teller", "UPDATE pgbench_tellers SET tbalance = tbalance + -1234 WHERE tid = 7;", Kind::Write),
    ("update_branch", "UPDATE pgbench_branches SET bbalance = bbalance + -1234 WHERE bid = 1;", Kind::Write),
    (
        "insert_history",
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (7, 1, 12345, -1234, CURRENT_TIMESTAMP);",
        Kind::Write,
    ),
    ("end", "END;", Kind::Commit { chain: false }),
];

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classification_of_tpc_b");
    for (name, text, expected) in TPC_B {
        assert_eq!(classify(text.as_bytes(), &NoFunctions).kind, expected, "{text}");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| classify(black_box(text.as_bytes()), &NoFunctions));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("classification");
    let long = long_select();
    assert_eq!(classify(long.as_bytes(), &NoFunctions).kind, Kind::Read, "{long}");
    group.throughput(Throughput::Bytes(long.len() as u64));
    group.bench_function("select_of_1_KiB", |bencher| {
        bencher.iter(|| classify(black_box(long.as_bytes()), &NoFunctions));
    });
    group.throughput(Throughput::Bytes(SELECT.len() as u64));
    group.bench_function("shape_of_select", |bencher| bencher.iter(|| shape(black_box(SELECT.as_bytes()))));
    group.bench_function("names_in_select", |bencher| {
        bencher.iter(|| may_name_statements(black_box(SELECT.as_bytes())));
    });
    group.bench_function("is_end_a_commit", |bencher| bencher.iter(|| is_commit(black_box(b"END;"))));
    group.finish();
}

/// Like what an object mapper writes: many quoted names, a join, some functions.
fn long_select() -> String {
    let mut text = String::from("SELECT count(*) AS \"total\"");
    let mut column = 0;
    while text.len() < 780 {
        column += 1;
        text.push_str(&format!(", lower(\"o\".\"column_{column}\") AS \"o_column_{column}\""));
    }
    text.push_str(" FROM \"orders\" AS \"o\" LEFT OUTER JOIN \"customers\" \"c\" ON (\"c\".\"id\" = \"o\".\"customer_id\")");
    text.push_str(
        " WHERE \"o\".\"state\" IN ('new', 'paid') AND \"o\".\"at\" >= '2026-01-01' ORDER BY 1 LIMIT 100",
    );
    text
}
