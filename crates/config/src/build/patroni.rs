//! Patroni: where it is asked, and as whom.

use std::path::PathBuf;

use patroni::{Endpoint, Login, Scheme};

use super::access::{self, Secrets};
use crate::{
    file::Content,
    raw::{Patroni, WholeCluster},
    section::{Context, Field},
    value::{Name, SecretSource},
};

/// The port of Patroni's REST API where nobody says otherwise.
const REST_PORT: u16 = 8008;

/// Builds the settings, if the section was written.
pub(super) fn build(
    cluster: &WholeCluster,
    secrets: &mut Secrets,
    context: &mut Context<'_>,
) -> Option<patroni::Settings> {
    let section = cluster.patroni.as_ref()?;
    let Patroni { urls, etcd, scope, namespace, interval, timeout, .. } = section;
    let urls: Vec<Endpoint> = match &urls.value {
        Some(urls) => urls.0.clone(),
        None => cluster.nodes.iter().map(|node| of_node(&node.address.value.host)).collect(),
    };
    let etcd = &etcd.value.0;
    if !etcd.is_empty() && scope.value.is_none() {
        context.mistakes.push(scope.mistake("etcd needs the cluster's name in Patroni"));
    }
    if urls.is_empty() && etcd.is_empty() && context.mistakes.is_empty() {
        context.mistakes.push(section.urls.mistake("neither urls nor etcd: Patroni cannot be asked"));
    }
    if section.certificate.value.is_some() != section.key.value.is_some() {
        context.mistakes.push(section.certificate.mistake("certificate and key belong together"));
    }
    warn_of_clear_text(section, &urls, context);
    let certificate = check(&section.certificate, Content::Public, context);
    let key = check(&section.key, Content::Secret, context);
    let (user, etcd_user) = (&section.user, &section.etcd_user);
    Some(patroni::Settings {
        urls,
        etcd: etcd.clone(),
        namespace: namespace.value.0.clone(),
        scope: scope.value.as_ref().map(|scope| scope.0.clone()),
        interval: interval.value.0,
        timeout: timeout.value.0,
        login: login(user, &section.secret, secrets, context),
        etcd_login: login(etcd_user, &section.etcd_secret, secrets, context),
        tls: conn::WebTls {
            root_certificate: check(&section.root_certificate, Content::Public, context),
            certificate: certificate
                .zip(key)
                .map(|(certificate, key)| conn::Certificate { certificate, key }),
        },
    })
}

fn of_node(host: &str) -> Endpoint {
    Endpoint { scheme: Scheme::Http, host: host.to_owned(), port: REST_PORT }
}

fn check(field: &Field<Option<PathBuf>>, content: Content, context: &mut Context<'_>) -> Option<PathBuf> {
    context.check_file(field, content)
}

/// A user needs a password, and a password a user.
fn login(
    user: &Field<Option<Name>>,
    secret: &Field<Option<SecretSource>>,
    secrets: &mut Secrets,
    context: &mut Context<'_>,
) -> Option<Login> {
    match (&user.value, &secret.value) {
        (None, None) => None,
        (Some(_), None) => {
            context.mistakes.push(user.mistake("the user needs a password"));
            None
        }
        (None, Some(_)) => {
            context.mistakes.push(secret.mistake("the password needs a user"));
            None
        }
        (Some(name), Some(source)) => {
            let found = access::resolve(source, secret, secrets, context)?;
            if found.clear_text().is_none() {
                context.mistakes.push(secret.mistake("a hash does not log in; the password is needed"));
            }
            Some(Login { user: name.0.clone(), secret: found })
        }
    }
}

/// A password that anybody on the way can read.
fn warn_of_clear_text(section: &Patroni, urls: &[Endpoint], context: &mut Context<'_>) {
    let is_open = |endpoints: &[Endpoint]| endpoints.iter().any(|endpoint| endpoint.scheme == Scheme::Http);
    for (secret, endpoints) in
        [(&section.secret, urls), (&section.etcd_secret, section.etcd.value.0.as_slice())]
    {
        if secret.value.is_some() && is_open(endpoints) {
            context.warnings.push(secret.mistake("the password is sent unencrypted to an http URL"));
        }
    }
}
