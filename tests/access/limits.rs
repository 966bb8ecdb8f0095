//! Limits of requests, by client.

use std::collections::BTreeMap;
use std::thread;

use crate::access::{Guarded, header, send};

/// Sends as many requests from 50 clients at once as they are told, and counts the responses by status.
fn flood(
    address: &str,
    n_each: usize,
    headers: impl Fn(usize) -> Vec<(&'static str, String)> + Sync,
) -> BTreeMap<u16, usize> {
    let client = |client: usize| {
        let headers = headers(client);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let ask = |_| send(address, "GET", "/api/v1/auth/me", &headers).status().as_u16();
        (0..n_each).map(ask).collect::<Vec<_>>()
    };
    let statuses = thread::scope(|scope| {
        let clients = (0..50).map(|nth| {
            scope.spawn({
                let client = &client;
                move || client(nth)
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().flat_map(|it| it.join().expect("answers")).collect::<Vec<_>>()
    });
    let mut counts = BTreeMap::new();
    for status in statuses {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

/// Addresses have 100 requests an hour, keys 1000 and premium keys 10,000, exactly.
pub(crate) fn clients_have_so_many_requests() {
    let guarded = Guarded::start_api("");
    let address = &*guarded.server.address;
    // Whatever they say about themselves: nothing of it is verified.
    let counts = flood(address, 4, |client| {
        let key = format!("Bearer fresnel_key_{client:016x}_{}", "A".repeat(43));
        let headers = [("authorization", key), ("x-forwarded-for", format!("10.0.0.{client}"))];
        if client % 2 == 0 { headers.into() } else { Vec::new() }
    });
    assert_eq!(counts, BTreeMap::from([(401, 100), (429, 100)]));
    let refused = guarded.send("GET", "/api/v1/auth/me", &[]);
    assert_eq!(header(&refused, "x-ratelimit-limit"), "100");
    assert_eq!(header(&refused, "x-ratelimit-remaining"), "0");
    let number = |name| header(&refused, name).parse::<u64>().expect("a number");
    assert!((3500..=3600).contains(&number("retry-after")), "{}", number("retry-after"));
    assert!(number("x-ratelimit-reset") > 1_700_000_000);
    assert_eq!(header(&refused, "content-type"), "application/problem+json");
    // Others at the same address are not affected.
    let key = format!("Bearer {}", guarded.key("pose:read"));
    let counts = flood(address, 22, |_| vec![("authorization", key.clone())]);
    assert_eq!(counts, BTreeMap::from([(200, 1000), (429, 100)]));
    let premium = ["keys", "add", "top", "--scopes", "pose:read", "--tier", "premium"];
    let premium = format!("Bearer {}", guarded.fresnel(&premium));
    let response = guarded.send("GET", "/api/v1/auth/me", &[("authorization", &premium)]);
    assert_eq!(
        (response.status().as_u16(), header(&response, "x-ratelimit-remaining")),
        (200, "9999")
    );
    guarded.sign_in();
    assert_eq!(guarded.send("GET", "/health/live", &[]).status(), 204);
}

/// The address of a client behind a trusted proxy is its own, and tiers have the limits of the pipeline file.
pub(crate) fn proxies_name_their_clients() {
    let guarded = Guarded::start_api(
        "trusted_proxies = [\"127.0.0.0/8\"], rate_limits = { default = 3, gold = 7 }",
    );
    let counts = flood(&guarded.server.address, 4, |client| {
        vec![("x-forwarded-for", format!("6.6.6.6, 10.0.0.{client}, 127.0.0.2"))]
    });
    assert_eq!(counts, BTreeMap::from([(401, 150), (429, 50)]));
    let gold = ["keys", "add", "top", "--scopes", "pose:read", "--tier", "gold"];
    let gold = format!("Bearer {}", guarded.fresnel(&gold));
    let response = guarded.send("GET", "/api/v1/auth/me", &[("authorization", &gold)]);
    assert_eq!(header(&response, "x-ratelimit-limit"), "7");
}
