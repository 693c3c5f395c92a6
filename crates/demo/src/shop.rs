use anyhow::{Context, Result};
use lab::Cluster;

use crate::{
    configuration::{agent_role, proxy_file},
    program::Program,
};

/// The demo's application database.
pub(crate) const DATABASE: &str = "shop";

/// Lets the proxies look up every role's secret without being superuser: the function runs as its owner and may be
/// called by the monitor role only. Roles that may not log in, or no longer, have none.
const LOOKUP: &str = "
create or replace function pgherd_user_lookup(wanted text, out rolname text, out rolpassword text)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
    select a.rolname::text, a.rolpassword from pg_catalog.pg_authid a
    where a.rolname = wanted and a.rolcanlogin and (a.rolvaliduntil is null or a.rolvaliduntil > now())
$$;
revoke all on function pgherd_user_lookup(text) from public;
grant execute on function pgherd_user_lookup(text) to pgherd;
";

/// What the proxies ask with; `$1` is the role.
pub(crate) const LOOKUP_QUERY: &str = "SELECT rolname, rolpassword FROM public.pgherd_user_lookup($1)";

/// A few customers, products and orders to play with.
const TABLES: &str = "
create table customers (
    id integer generated always as identity primary key, name text not null, country text not null
);
create table products (
    id integer generated always as identity primary key, name text not null, price numeric(10, 2) not null
);
create table orders (
    id bigint generated always as identity primary key,
    customer_id integer not null references customers, product_id integer not null references products,
    quantity integer not null check (quantity > 0), ordered_at timestamptz not null default now()
);
create index on orders (customer_id);
insert into customers (name, country)
    select 'customer ' || n, (array['DE', 'US', 'JP', 'BR', 'ZA'])[1 + n % 5] from generate_series(1, 100) n;
insert into products (name, price) select 'product ' || n, 1 + n * 1.25 from generate_series(1, 20) n;
insert into orders (customer_id, product_id, quantity)
    select 1 + n % 100, 1 + n % 20, 1 + n % 3 from generate_series(1, 1000) n;
analyze customers, products, orders;
";

/// Makes what the demo needs inside the cluster; a kept demo has its tables already.
pub(crate) fn prepare(cluster: &Cluster) -> Result<()> {
    let primary = cluster.primary()?;
    cluster.psql(primary, LOOKUP)?;
    let exists = "select to_regclass('public.orders') is not null";
    if cluster.psql_as(primary, cluster.application(), cluster.database(), exists)? != "t" {
        cluster.psql_as(primary, cluster.application(), cluster.database(), TABLES)?;
    }
    Ok(())
}

/// Gives the roles of proxies and agents what they need, as `pgherd init-sql` has it for the configuration of the proxy
/// that manages.
///
/// # Errors
/// When the script fails.
pub(crate) fn grant(cluster: &Cluster, program: &Program, managing_region: &str) -> Result<()> {
    let file = proxy_file(cluster.directory(), managing_region);
    let file = file.to_string_lossy();
    let role = agent_role(cluster);
    let script = program.run(&["init-sql", "-c", &file, "--manage", "--agent-user", role])?;
    let primary = cluster.primary()?;
    cluster.psql(primary, &script).context("the script of `pgherd init-sql` failed")?;
    if cluster.binaries().major() < 15 {
        // The script only says so: ALTER SYSTEM could not be granted then.
        cluster.psql(primary, &format!("alter role {role} superuser"))?;
    }
    cluster.wait_for_all()
}
