//! Statement texts to classes.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use sql::{Kind, NoFunctions, classify, shape};

const SELECT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;";
const WRITE: &str = "UPDATE pgbench_accounts SET abalance = abalance + -1234 WHERE aid = 12345;";
const BEGIN: &str = "BEGIN;";

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classification");
    let long = long_select();
    let texts = [
        ("pgbench_select", SELECT, Kind::Read),
        ("select_of_1_KiB", &long, Kind::Read),
        ("pgbench_update", WRITE, Kind::Write),
        ("begin", BEGIN, Kind::Begin { replica: false }),
    ];
    for (name, text, expected) in texts {
        assert_eq!(classify(text.as_bytes(), &NoFunctions).kind, expected, "{text}");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| classify(black_box(text.as_bytes()), &NoFunctions));
        });
    }
    group.throughput(Throughput::Bytes(SELECT.len() as u64));
    group.bench_function("shape_of_pgbench_select", |bencher| {
        bencher.iter(|| shape(black_box(SELECT.as_bytes())))
    });
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
