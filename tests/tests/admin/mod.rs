//! The console, from outside.

mod commands;
mod pause;
mod reload;
mod show;
mod shutdown;
mod stop;
mod takeover;

use e2e::Proxy;
use lab::Login;

/// A driver of its own connection to the console.
async fn driver(proxy: &Proxy, login: &Login) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(proxy.port()).user(&login.user).password(&login.password).dbname("pgherd");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
