//! What each route asks for. A route that is missing here answers nobody.

use axum::http::Method;
use identity::Scope;
use identity::Scope::{
    AdminAll, AnalyticsRead, ConfigWrite, PoseRead, StreamSubscribe, SystemRead, ZoneWrite,
};

use crate::auth::access::Access::{Probe, Scopes, SignIn, SignedIn, Stream};

/// What a route asks of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing, however often.
    Probe,
    /// A password or a refresh token in the body; attempts are limited apart from other requests.
    SignIn,
    /// A credential, whatever it allows.
    SignedIn,
    /// A credential with all these scopes.
    Scopes(&'static [Scope]),
    /// The same, for a stream.
    Stream(&'static [Scope]),
}

impl Access {
    /// Returns the scopes that a credential needs; none if the route needs no credential.
    pub(crate) fn scopes(self) -> Option<&'static [Scope]> {
        match self {
            Probe | SignIn => None,
            SignedIn => Some(&[]),
            Scopes(scopes) | Stream(scopes) => Some(scopes),
        }
    }
}

/// The routes, by method and path.
const ROUTES: &[(&str, &str, Access)] = &[
    ("GET", "/", Probe),
    ("GET", "/page.css", Probe),
    ("GET", "/page.js", Probe),
    ("GET", "/health/live", Probe),
    ("GET", "/health/ready", Probe),
    ("POST", "/api/v1/auth/token", SignIn),
    ("POST", "/api/v1/auth/refresh", SignIn),
    ("POST", "/api/v1/auth/revoke", SignIn),
    ("POST", "/api/v1/auth/session", SignIn),
    ("DELETE", "/api/v1/auth/session", SignedIn),
    ("GET", "/api/v1/auth/me", SignedIn),
    ("GET", "/docs", SignedIn),
    ("GET", "/docs/", SignedIn),
    ("GET", "/docs/{*name}", SignedIn),
    ("GET", "/api/v1", SignedIn),
    ("GET", "/api/v1/openapi.json", SignedIn),
    ("GET", "/api/v1/pose/current", Scopes(&[PoseRead])),
    ("GET", "/api/v1/pose/history", Scopes(&[PoseRead])),
    ("GET", "/api/v1/pose/persons", Scopes(&[PoseRead])),
    ("GET", "/api/v1/pose/persons/{person_id}", Scopes(&[PoseRead])),
    ("GET", "/api/v1/pose/zones", Scopes(&[PoseRead])),
    ("GET", "/api/v1/analytics/heatmaps", Scopes(&[AnalyticsRead])),
    ("GET", "/api/v1/analytics/activity", Scopes(&[AnalyticsRead])),
    ("GET", "/api/v1/analytics/export", Scopes(&[AnalyticsRead, PoseRead])),
    ("GET", "/api/v1/analytics/reports", Scopes(&[AnalyticsRead])),
    ("POST", "/api/v1/analytics/reports", Scopes(&[AnalyticsRead])),
    ("GET", "/api/v1/analytics/reports/{id}", Scopes(&[AnalyticsRead])),
    ("DELETE", "/api/v1/analytics/reports/{id}", Scopes(&[AnalyticsRead])),
    // The tables contain poses, too.
    ("GET", "/api/v1/sql", Scopes(&[AnalyticsRead, PoseRead])),
    ("POST", "/api/v1/sql", Scopes(&[AnalyticsRead, PoseRead])),
    ("DELETE", "/api/v1/sql/{id}", Scopes(&[AnalyticsRead, PoseRead])),
    ("GET", "/api/v3/query_sql", Scopes(&[AnalyticsRead, PoseRead])),
    ("POST", "/api/v3/query_sql", Scopes(&[AnalyticsRead, PoseRead])),
    ("GET", "/api/v1/system/health", Scopes(&[SystemRead])),
    ("GET", "/api/v1/system/status", Scopes(&[SystemRead])),
    ("GET", "/api/v1/system/routers", Scopes(&[SystemRead])),
    ("GET", "/api/v1/system/performance", Scopes(&[SystemRead])),
    ("GET", "/metrics", Scopes(&[SystemRead])),
    ("GET", "/api/v1/config/zones", Scopes(&[SystemRead])),
    ("GET", "/api/v1/config/zones/{name}", Scopes(&[SystemRead])),
    ("PUT", "/api/v1/config/zones/{name}", Scopes(&[ZoneWrite])),
    ("DELETE", "/api/v1/config/zones/{name}", Scopes(&[ZoneWrite])),
    ("POST", "/api/v1/config/calibrations", Scopes(&[ConfigWrite])),
    ("GET", "/api/v1/config/routers", Scopes(&[SystemRead])),
    ("GET", "/api/v1/config/routers/{name}", Scopes(&[SystemRead])),
    ("PUT", "/api/v1/config/routers/{name}", Scopes(&[ConfigWrite])),
    ("DELETE", "/api/v1/config/routers/{name}", Scopes(&[ConfigWrite])),
    ("GET", "/api/v1/config/alerts", Scopes(&[SystemRead])),
    ("GET", "/api/v1/config/alerts/{name}", Scopes(&[SystemRead])),
    ("PUT", "/api/v1/config/alerts/{name}", Scopes(&[ConfigWrite])),
    ("DELETE", "/api/v1/config/alerts/{name}", Scopes(&[ConfigWrite])),
    // Their URLs may be secret.
    ("GET", "/api/v1/config/webhooks", Scopes(&[ConfigWrite])),
    ("GET", "/api/v1/config/webhooks/{name}", Scopes(&[ConfigWrite])),
    ("PUT", "/api/v1/config/webhooks/{name}", Scopes(&[ConfigWrite])),
    ("DELETE", "/api/v1/config/webhooks/{name}", Scopes(&[ConfigWrite])),
    ("GET", "/api/v1/config/templates", Scopes(&[SystemRead])),
    ("GET", "/api/v1/config/templates/{name}", Scopes(&[SystemRead])),
    ("PUT", "/api/v1/config/templates/{name}", Scopes(&[ConfigWrite])),
    ("DELETE", "/api/v1/config/templates/{name}", Scopes(&[ConfigWrite])),
    ("POST", "/api/v1/config/templates/{name}/render", Scopes(&[ConfigWrite])),
    ("GET", "/ws/v1/stream", Stream(&[StreamSubscribe])),
    // A tap shows the records of any stream, such as raw CSI.
    ("GET", "/api/v1/streams/{name}/tap", Stream(&[AdminAll])),
];

/// Returns what a route asks for; none if no route has this method and path.
pub(crate) fn access(method: &Method, path: &str) -> Option<Access> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let route = ROUTES.iter().find(|route| route.0 == method && route.1 == path);
    route.map(|route| route.2)
}

/// Returns the methods that a path supports, for the header `Allow`.
pub(super) fn methods(path: &str) -> String {
    let routes = ROUTES.iter().filter(|route| route.1 == path).map(|route| route.0);
    let methods = routes.map(|method| if method == "GET" { "GET,HEAD" } else { method });
    methods.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_path_has_methods() {
        assert_eq!(methods("/api/v1/sql"), "GET,HEAD,POST");
        assert_eq!(methods("/api/v1/sql/{id}"), "DELETE");
        assert_eq!(access(&Method::HEAD, "/metrics"), access(&Method::GET, "/metrics"));
        assert_eq!(access(&Method::PUT, "/metrics"), None);
    }

    #[test]
    fn the_documented_routes_are_those_of_the_table() {
        let document = serde_json::to_value(crate::openapi()).expect("it is JSON");
        let paths = document["paths"].as_object().expect("it has paths");
        let documented: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("it has methods").keys();
                methods.map(move |method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let undocumented = ["/", "/page.css", "/page.js", "/docs", "/docs/", "/docs/{*name}"];
        let undocumented = [&undocumented[..], &["/api/v1", "/api/v1/openapi.json"]].concat();
        let table = ROUTES.iter().filter(|route| !undocumented.contains(&route.1));
        let table = table.map(|route| (route.0.to_owned(), route.1.to_owned())).collect();
        assert_eq!(documented, table);
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document = serde_json::to_value(crate::openapi()).expect("it is JSON");
        let paths = document["paths"].as_object().expect("it has paths").values();
        let operations = paths.flat_map(|item| item.as_object().expect("it has methods").values());
        let mut names: Vec<_> = operations
            .map(|operation| operation["operationId"].as_str().expect("a name"))
            .collect();
        let n_operations = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n_operations, "generated clients have a function for each");
    }
}
