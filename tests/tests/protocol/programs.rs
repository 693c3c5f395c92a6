//! PostgreSQL's own programs.

use std::fs;

use e2e::{Herd, Setup};

/// The figure that pgbench prints after `label`.
fn figure(report: &str, label: &str) -> f64 {
    let line = report.lines().find_map(|line| line.trim().strip_prefix(label));
    let line = line.unwrap_or_else(|| panic!("no {label:?} in {report}"));
    let number = line.trim_start_matches([':', ' ', '=']).split([' ', '/', '(']).next();
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number in {line:?}"))
}

#[test]
fn what_psql_tells_about_a_schema_is_the_same_as_without_the_proxy() {
    let herd = Herd::common();
    herd.psql(
        "create table described (id int primary key, name text not null default 'x');
         create index on described (name);
         create view described_view as select name from described;
         create function described_function(a int) returns int language sql as 'select a + 1';",
    )
    .unwrap();
    herd.cluster().wait_for_all().unwrap();
    let direct = herd.cluster().node(0).port();
    for command in
        ["\\d", "\\d described", "\\dt+", "\\df", "\\dv+ described_view", "\\du", "\\dn+", "\\di", "\\l"]
    {
        let arguments = ["-X", "-c", command];
        let output = herd.run("psql", &arguments).unwrap();
        if matches!(command, "\\d" | "\\dt+" | "\\df" | "\\di") {
            assert!(output.contains("described"), "{command}: {output}");
        }
        if matches!(command, "\\d described" | "\\dv+ described_view" | "\\dn+") {
            assert_eq!(output, herd.run_at(direct, "psql", &arguments).unwrap(), "{command}");
        }
    }
}

#[test]
fn pgbench_runs_in_all_three_modes_without_a_failure() {
    let herd = Setup::shared().set("pool.size", 4).start();
    herd.run("pgbench", &["-i", "-q", "-s", "2"]).unwrap();
    herd.cluster().wait_for_all().unwrap();
    for mode in ["simple", "extended", "prepared"] {
        for script in [&[][..], &["-S"]] {
            let mut arguments = vec!["-n", "-c", "8", "-T", "2", "-M", mode];
            arguments.extend(script);
            let report = herd.run("pgbench", &arguments).unwrap();
            assert_eq!(figure(&report, "number of failed transactions"), 0.0, "{report}");
            assert!(figure(&report, "number of transactions actually processed") > 20.0, "{report}");
            println!("pgbench -M {mode} {script:?}: {} tps", figure(&report, "tps"));
        }
    }
    let sums = "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history),
                       (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history)";
    assert_eq!(herd.psql_directly(sums).unwrap(), "t|t");
}

#[test]
fn a_dump_taken_through_the_proxy_restores_through_the_proxy_to_the_same() {
    let herd = Setup::shared().start();
    herd.psql(
        "create schema shop;
         create type shop.mood as enum ('sad', 'ok', 'happy');
         create table shop.customers (id serial primary key, name text, mood shop.mood, about jsonb);
         create table shop.orders (id bigint generated always as identity primary key,
                                   customer int references shop.customers, total numeric(10, 2));
         insert into shop.customers (name, mood, about)
             select E'name\\t' || g, (enum_range(null::shop.mood))[1 + g % 3], jsonb_build_object('g', g, 'ä', null)
             from generate_series(1, 2000) g;
         insert into shop.orders (customer, total) select 1 + g % 2000, g / 7.0 from generate_series(1, 5000) g;
         create view shop.totals as select customer, sum(total) from shop.orders group by customer;
         create function shop.touch() returns trigger language plpgsql as $$ begin return new; end $$;
         create trigger touch before insert on shop.orders for each row execute function shop.touch();
         select lo_from_bytea(0, 'a large object');",
    )
    .unwrap();
    let folder = herd.cluster().directory();
    let files = ["first", "second"]
        .map(|name| folder.join(format!("{}-{name}.sql", herd.database())).to_string_lossy().into_owned());
    herd.run("pg_dump", &["--no-sync", "-f", &files[0]]).unwrap();
    herd.psql("drop schema shop cascade; select lo_unlink(oid) from pg_largeobject_metadata").unwrap();
    herd.run("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", &files[0]]).unwrap();
    herd.run("pg_dump", &["--no-sync", "-f", &files[1]]).unwrap();
    // A dump of PostgreSQL 15.14 and later begins and ends with a random key.
    let [first, second] = files.map(|file| {
        let text = fs::read_to_string(file).unwrap();
        text.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
    });
    assert!(first.contains("COPY shop.orders") && first.contains("lo_create"), "{first}");
    assert_eq!(first, second);
}

#[test]
fn tables_that_standbys_do_not_have_are_read_on_the_primary() {
    let herd = Setup::shared().regions(["us"]).start();
    herd.psql("create unlogged table unlogged as select 7 as a").unwrap();
    herd.cluster().wait_for_all().unwrap();
    for _ in 0..3 {
        assert_eq!(herd.psql("select a from unlogged").unwrap(), "7");
        assert_eq!(herd.psql("copy (select a from unlogged) to stdout").unwrap(), "7");
        assert_eq!(herd.psql("copy unlogged to stdout").unwrap(), "7");
    }
}

#[test]
fn copy_moves_megabytes_both_ways() {
    copy_both_ways(40_000);
}

#[test]
#[ignore = "takes minutes: COPY of 1 GiB; run by make test-long"]
fn copy_moves_a_gibibyte_both_ways() {
    copy_both_ways(13_000_000);
}

/// Copies a table of `rows` rows of about 100 bytes out and in again.
fn copy_both_ways(rows: u32) {
    let herd = Setup::shared().start();
    herd.psql(&format!(
        "create unlogged table source as
             select g as id, md5(g::text) || md5((g + 1)::text) as text, g * 1.5 as number
             from generate_series(1, {rows}) g;
         create unlogged table target (like source);"
    ))
    .unwrap();
    let file = herd.cluster().directory().join(format!("{}.copy", herd.database()));
    // Unlogged tables cost less, and standbys do not have them.
    let port = herd.proxy(0).port_of("read-write");
    let copy = |command: &str| {
        herd.run_at(port, "psql", &["-X", "-c", &format!("\\copy {command} '{}'", file.display())])
    };
    assert!(copy("source to").unwrap().contains(&format!("COPY {rows}")));
    assert!(copy("target from").unwrap().contains(&format!("COPY {rows}")));
    println!("COPY of {} MB both ways", fs::metadata(&file).unwrap().len() / 1_000_000);
    let digest = |table: &str| {
        herd.psql_directly(&format!("select count(*), sum(hashtext(t::text)::bigint) from {table} t"))
            .unwrap()
    };
    assert_eq!(digest("source"), digest("target"));
    fs::remove_file(file).unwrap();
}
