//! The resources of the API: people, zones, and what happened.

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::http::HeaderMap;

use crate::support::process::Server;
use crate::support::wait;

/// Starts the demo, and waits until people were seen in zones.
fn start() -> (TempDir, Server) {
    let directory = tempfile::tempdir().expect("room");
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    let sql = json!({ "q": "SELECT count(*) AS n FROM persons WHERE zone IS NOT NULL" });
    wait::until("people are in zones", || {
        let (_, rows) = server.post("/api/v1/sql", &sql);
        let rows: Value = serde_json::from_str(&rows).unwrap_or_default();
        rows[0]["n"].as_u64() > Some(50)
    });
    (directory, server)
}

fn get(server: &Server, path: &str) -> Value {
    let (status, body) = server.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

fn get_page(server: &Server, path: &str) -> (HeaderMap, Value) {
    let url = format!("http://{}{path}", server.address);
    let mut response = ureq::get(url).call().expect("it answers");
    let body = response.body_mut().read_json().expect("JSON");
    (response.headers().clone(), body)
}

/// Returns the path of the next page.
fn next(headers: &HeaderMap) -> Option<String> {
    let link = headers.get("link")?.to_str().expect("text");
    let (path, relation) = link.strip_prefix('<')?.split_once('>')?;
    assert_eq!(relation, "; rel=\"next\"");
    Some(path.to_owned())
}

pub(crate) fn people_have_a_summary_and_a_path() {
    let (_directory, server) = start();
    let persons = get(&server, "/api/v1/pose/persons");
    let person = &persons[0];
    assert!(person["first_seen"].as_str() <= person["last_seen"].as_str(), "{person}");
    assert!(person["average_confidence"].as_f64() > Some(0.0), "{person}");
    let itself = person["_links"]["self"]["href"].as_str().expect("a link");
    let id = person["person_id"].as_str().expect("text");
    assert_eq!(itself, format!("/api/v1/pose/persons/{id}"));
    let alone = get(&server, itself);
    assert_eq!(
        (&alone["person_id"], &alone["movement_history"]),
        (&person["person_id"], &Value::Null)
    );
    let path = get(&server, person["_links"]["history"]["href"].as_str().expect("a link"));
    let path = path["movement_history"].as_array().expect("points");
    assert!(!path.is_empty() && path[0]["x_m"].is_number(), "{path:?}");
    assert_eq!(server.get("/api/v1/pose/persons/nobody").0, 404);
    let one = get(&server, "/api/v1/pose/persons?limit=1");
    assert_eq!(one.as_array().map(Vec::len), Some(1));
    for path in ["pose/persons", "pose/current", "pose/zones", "analytics/heatmaps"] {
        let (status, problem) = server.get(&format!("/api/v1/{path}?zone_id=kitchn"));
        assert!(status == 404 && problem.contains("bedroom, dining, kitchen"), "{path}: {problem}");
    }
    let (status, problem) = server.get("/api/v1/pose/current?source=nothing");
    assert!(status == 404 && problem.contains("frames of: activity"), "{problem}");
}

/// Each frame is on one page, however many there are when the next page is asked for.
pub(crate) fn pages_miss_nothing_and_repeat_nothing() {
    let (_directory, server) = start();
    let mut path = Some("/api/v1/pose/history?start_time=2020-01-01T00:00:00Z&end_time=2200-01-01T00:00:00Z&limit=7".to_owned());
    let mut ids = Vec::new();
    for _ in 0..4 {
        let (headers, frames) = get_page(&server, &path.expect("there is more"));
        let frames = frames.as_array().expect("frames");
        ids.extend(frames.iter().map(|frame| frame["frame_id"].as_u64().expect("a number")));
        path = next(&headers);
    }
    let expected: Vec<_> = (ids[0]..ids[0] + 28).collect();
    assert_eq!(ids, expected);
    let kitchen = "/api/v1/pose/history?start_time=2020-01-01T00:00:00Z&end_time=2200-01-01T00:00:00Z&zone_id=kitchen&min_confidence=0.1";
    for frame in get(&server, kitchen).as_array().expect("frames") {
        let persons = frame["persons"].as_array().expect("people");
        assert!(!persons.is_empty() && persons.iter().all(|person| person["zone_id"] == "kitchen"));
    }
    let (_, persons) = get_page(&server, "/api/v1/pose/persons");
    if persons.as_array().map_or(0, Vec::len) > 1 {
        let (headers, first) = get_page(&server, "/api/v1/pose/persons?limit=1");
        let (_, second) = get_page(&server, &next(&headers).expect("there is more"));
        assert_ne!(first[0]["person_id"], second[0]["person_id"]);
    }
    for wrong in ["cursor=x", "limit=1001", "skip=10001", "limit=-1", "min_confidence=1.5"] {
        let path = format!("/api/v1/pose/persons?{wrong}");
        assert_eq!(server.get(&path).0, 400, "{wrong}");
    }
}

pub(crate) fn zones_know_who_is_there() {
    let (_directory, server) = start();
    let zones = get(&server, "/api/v1/pose/zones");
    let names = zones.as_array().expect("zones").iter().map(|zone| &zone["zone_id"]);
    assert_eq!(names.collect::<Vec<_>>(), ["bedroom", "dining", "kitchen", "living"]);
    wait::until("somebody is somewhere", || {
        let zones = get(&server, "/api/v1/pose/zones");
        let counts = zones.as_array().expect("zones").iter().map(|zone| zone["count"].as_u64());
        counts.flatten().sum::<u64>() > 0
    });
    let kitchen = get(&server, "/api/v1/pose/zones?zone_id=kitchen");
    assert_eq!(kitchen[0]["_links"]["self"]["href"], "/api/v1/config/zones/kitchen");
    assert_eq!(server.get("/api/v1/pose/zones?zone_id=nowhere").0, 404);
}

pub(crate) fn what_happened_is_summed_up() {
    let (_directory, server) = start();
    let maps = get(&server, "/api/v1/analytics/heatmaps?cell_m=1");
    assert_eq!(maps[0]["cell_m"], 1.0);
    let cells = maps[0]["cells"].as_array().expect("cells");
    let most = cells.iter().map(|cell| cell["intensity"].as_f64().expect("a number"));
    assert_eq!(most.fold(0.0, f64::max), 1.0);
    assert_eq!(server.get("/api/v1/analytics/heatmaps?cell_m=0").0, 400);
    let activity = "/api/v1/analytics/activity?interval=1m";
    wait::until("people do something", || get(&server, activity)[0]["seconds"].is_number());
    assert_eq!(server.get("/api/v1/analytics/activity?interval=0s").0, 400);
    for (format, beginning) in [("csv", "captured_at"), ("json", "[{"), ("parquet", "PAR1")] {
        let path = format!("/api/v1/analytics/export?table=persons&format={format}");
        let url = format!("http://{}{path}", server.address);
        let mut response = ureq::get(url).call().expect("it answers");
        let name = response.headers()["content-disposition"].to_str().expect("text").to_owned();
        assert_eq!(name, format!("attachment; filename=\"persons.{format}\""));
        let file = response.body_mut().read_to_vec().expect("bytes");
        let start = String::from_utf8_lossy(&file[..beginning.len()]).into_owned();
        assert!(start.starts_with(beginning), "{format}: {start}");
    }
    assert_eq!(server.get("/api/v1/analytics/export?table=nothing").0, 404);
    assert_eq!(server.get("/api/v1/analytics/export?table=poses&format=csv").0, 406);
}

pub(crate) fn the_api_lists_its_resources() {
    let directory = tempfile::tempdir().expect("room");
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    let index = get(&server, "/api/v1");
    let resources = index["resources"].as_array().expect("resources");
    let zones = resources.iter().find(|it| it["path"] == "/api/v1/config/zones/{name}");
    let methods = zones.expect("zones")["methods"].as_object().expect("methods");
    assert_eq!(methods.keys().collect::<Vec<_>>(), ["DELETE", "GET", "PUT"]);
    for (relation, link) in index["_links"].as_object().expect("links") {
        let path = link["href"].as_str().expect("text");
        assert_eq!(server.get(path).0, 200, "{relation}");
    }
}

/// Orchestrators learn that a pipeline ends before it has ended.
pub(crate) fn a_pipeline_is_ready_until_it_ends() {
    let (_directory, server) = start();
    assert_eq!(server.get("/health/live").0, 204);
    assert_eq!(server.get("/health/ready").0, 204);
    server.signal("TERM");
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{}/health/ready", server.address);
    let mut was_unready = false;
    while let Ok(response) = agent.get(&url).call() {
        was_unready |= response.status() == 503;
    }
    assert!(was_unready, "it said so before it ended");
    assert_eq!(server.wait().0, Some(0));
}

/// The second version differs where it says so, by its path or by the header `Accept`.
pub(crate) fn versions_differ_as_they_say() {
    let directory = tempfile::tempdir().expect("room");
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    let get = |path: &str, accept: &str| {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let response = agent
            .get(format!("http://{}{path}", server.address))
            .header("accept", accept)
            .call()
            .expect("it answers");
        let version = response.headers().get("api-version");
        let version = version.map_or("", |value| value.to_str().expect("text")).to_owned();
        let status = response.status().as_u16();
        let body = response.into_body().read_json::<Value>().unwrap_or_default();
        (status, version, body)
    };
    let zones = "pose/zones";
    let (_, version, first) = get(&format!("/api/v1/{zones}"), "*/*");
    assert_eq!((&*version, first.as_array().map(Vec::len)), ("v1", Some(4)));
    for (path, accept) in
        [("/api/v2/pose/zones", "*/*"), ("/api/pose/zones", "application/json;version=2")]
    {
        let (status, version, second) = get(path, accept);
        assert_eq!((status, &*version), (200, "v2"), "{path}");
        assert_eq!(
            (second["items"].as_array().map(Vec::len), &second["next"]),
            (Some(4), &Value::Null)
        );
        let link = second["items"][0]["_links"]["self"]["href"].as_str().expect("a link");
        assert!(link.starts_with("/api/v2/"), "{link}");
    }
    assert_eq!(get("/api/pose/zones", "*/*").1, "v1");
    assert_eq!(get("/api/v9/pose/zones", "*/*").0, 404);
    let (status, _, problem) = get("/api/pose/zones", "application/json;version=9");
    assert_eq!(status, 406);
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.contains("v1, v2")),
        "{problem}"
    );
    let index = get("/api/v2", "*/*").2;
    assert_eq!(
        (&index["versions"][0]["stage"], &index["versions"][1]["stage"]),
        (&"stable".into(), &"beta".into())
    );
}

/// A client that has a response does not receive it again, and analytics are answered once in a moment.
pub(crate) fn what_has_not_changed_is_not_sent_again() {
    let (_directory, server) = start();
    let get = |path: &str, tag: &str| {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("http://{}{path}", server.address);
        agent.get(url).header("if-none-match", tag).call().expect("it answers")
    };
    let path = "/api/v1/config/zones";
    let first = get(path, "\"none\"");
    let tag = first.headers()["etag"].to_str().expect("text").to_owned();
    assert_eq!(first.headers()["cache-control"], "private, no-cache");
    let mut again = get(path, &tag);
    assert_eq!(
        (again.status().as_u16(), &*again.body_mut().read_to_string().expect("text")),
        (304, "")
    );
    let zone = json!({ "coordinates": [[0, 0], [1, 0], [1, 1]] });
    server.put("/api/v1/config/zones/corner", &zone).expect("it is kept");
    assert_eq!(get(path, &tag).status(), 200);
    let heat_maps = "/api/v1/analytics/heatmaps?cell_m=0.25";
    let ages = [(); 2].map(|()| get(heat_maps, "\"none\"").headers().contains_key("age"));
    assert_eq!(ages, [false, true]);
}

/// Routers are listed with their rates, and the status sums them up.
pub(crate) fn routers_are_listed() {
    let directory = tempfile::tempdir().expect("room");
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    wait::until("the rates are measured", || {
        let routers = get(&server, "/api/v1/system/routers");
        let routers = routers.as_array().expect("a list").clone();
        routers.len() == 4 && routers.iter().all(|router| router["fps"].as_f64().is_some())
    });
    let routers = get(&server, "/api/v1/system/routers");
    assert_eq!((&routers[0]["source"], &routers[0]["status"]), (&"room".into(), &"active".into()));
    assert!(routers[0]["fps"].as_f64().is_some_and(|fps| (2.0..60.0).contains(&fps)), "{routers}");
    let status = get(&server, "/api/v1/system/status");
    assert_eq!((&status["status"], &status["active_routers"]), (&"healthy".into(), &4.into()));
    for name in ["current_fps", "average_latency_ms", "memory_usage_mb"] {
        assert!(status[name].as_f64().is_some_and(|value| value > 0.0), "{name}: {status}");
    }
}

/// Templates are kept, and make pipeline files that are checked.
pub(crate) fn templates_make_pipelines() {
    let directory = tempfile::tempdir().expect("room");
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    let path = "/api/v1/config/templates/light";
    let text = "name = \"${site}_light\"\n[sources.boards]\ntype = \"csi\"\nformat = \"${format}\"\n\
        transport = { udp = \"127.0.0.1:${port}\" }\n\
        [sinks.lines]\ntype = \"json_lines\"\ninputs = [\"boards.errors\"]\npath = \"lines.jsonl\"\n";
    let (status, template) = server.put(path, &json!({ "text": text })).expect("it is there");
    let template: Value = serde_json::from_str(&template).expect("JSON");
    assert_eq!((status, &template["parameters"]), (200, &json!(["format", "port", "site"])));
    let render = |parameters: &Value| {
        let (status, rendered) =
            server.post(&format!("{path}/render"), &json!({ "parameters": parameters }));
        (status, serde_json::from_str::<Value>(&rendered).expect("JSON"))
    };
    let (status, rendered) = render(&json!({ "site": "hall", "format": "esp32", "port": 5566 }));
    assert_eq!((status, &rendered["is_valid"]), (200, &true.into()), "{rendered}");
    assert!(
        rendered["text"].as_str().is_some_and(|text| text.contains("127.0.0.1:5566")),
        "{rendered}"
    );
    let (_, rendered) = render(&json!({ "site": "hall", "format": "esp33", "port": 5566 }));
    assert_eq!(rendered["is_valid"], false);
    assert!(
        rendered["problems"][0].as_str().is_some_and(|problem| problem.contains("esp33")),
        "{rendered}"
    );
    assert_eq!(render(&json!({ "site": "hall" })).0, 400);
    assert_eq!(get(&server, "/api/v1/config/templates").as_array().map(Vec::len), Some(1));
    let no_template = json!({ "text": "name = ${site}" });
    assert_eq!(server.put("/api/v1/config/templates/x", &no_template).map(|it| it.0), Some(400));
    server.terminate();
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    assert_eq!(get(&server, path)["text"], text);
    assert_eq!(server.delete(path).map(|it| it.0), Some(204));
    assert_eq!(server.delete(path).map(|it| it.0), Some(404));
}

/// Settings of routers, rules of alerts and subscriptions of webhooks are kept over a restart. What makes no sense
/// is refused, and secrets are not shown.
pub(crate) fn items_are_created_changed_and_removed() {
    let directory = tempfile::tempdir().expect("room");
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    let url = "https://home.example/hook";
    let secret = "a secret of the test";
    let items = [
        (
            "routers/rx0",
            json!({ "name": "Hall", "position": [1.0, 2.5] }),
            json!({ "router_id": "rx0", "name": "Hall", "position": [1.0, 2.5], "enabled": true }),
        ),
        (
            "alerts/crowd",
            json!({ "when": { "type": "high_occupancy", "zone_id": "kitchen", "max_occupancy": 3, "duration": "5m" } }),
            json!({
                "name": "crowd", "severity": "medium", "enabled": true,
                "when": { "type": "high_occupancy", "zone_id": "kitchen", "max_occupancy": 3, "duration": "5m" },
            }),
        ),
        (
            "webhooks/falls",
            json!({
                "url": url, "events": ["person.fall_detected"], "secret": secret,
                "headers": { "Authorization": "Bearer of the test" },
            }),
            json!({
                "name": "falls", "url": url, "events": ["person.fall_detected"], "has_secret": true,
                "headers": ["Authorization"], "active": true,
                "retry_policy": { "max_attempts": 3, "retry_on_status": [500, 502, 503, 504] },
            }),
        ),
        (
            "zones/sofa",
            json!({ "coordinates": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]] }),
            json!({
                "name": "sofa", "operator": "zones", "site": null,
                "coordinates": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]],
            }),
        ),
    ];
    let path = |item: &str| format!("/api/v1/config/{item}");
    for (item, body, expected) in &items {
        assert_eq!(server.get(&path(item)).0, 404, "{item}");
        let (status, stored) = server.put(&path(item), body).expect("it is there");
        assert_eq!(status, 200, "{item}: {stored}");
        assert_eq!(&get(&server, &path(item)), expected);
        let (list, _) = item.split_once('/').expect("a list");
        let all = get(&server, &path(list));
        assert!(all.as_array().expect("a list").contains(expected), "{all}");
    }
    for (item, wrong) in [
        ("alerts/x", json!({ "when": { "type": "nothing" } })),
        ("alerts/x", json!({ "when": { "type": "threshold", "stream": "a", "column": "b" } })),
        ("alerts/x", json!({ "when": { "type": "device_lost", "after": "0s" } })),
        ("alerts/x", json!({ "when": { "type": "fall" }, "severity": "very" })),
        ("webhooks/x", json!({ "url": "ftp://a", "events": ["person.lost"] })),
        ("webhooks/x", json!({ "url": url, "events": ["person.slept"] })),
        ("webhooks/x", json!({ "url": url, "events": [] })),
        ("webhooks/x", json!({ "url": url, "events": ["person.lost"], "secret": "short" })),
        ("webhooks/x", json!({ "url": url, "events": ["person.lost"], "headers": { "a b": "c" } })),
        ("routers/x", json!({ "name": " " })),
        ("routers/x", json!([null, null])),
        ("routers/x", json!({ "position": [1e39, 0.0] })),
        ("routers/a%20b", json!({})),
    ] {
        let (status, problem) = server.put(&path(item), &wrong).expect("it is there");
        assert_eq!(status, 400, "{wrong}: {problem}");
    }
    let log = server.terminate().1;
    assert!(!log.contains(secret), "{log}");
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    for (item, _, expected) in &items {
        assert_eq!(&get(&server, &path(item)), expected, "after a restart");
        assert!([200, 204].contains(&server.delete(&path(item)).expect("it is there").0));
        assert_eq!(server.delete(&path(item)).expect("it is there").0, 404, "{item}");
    }
}

/// The frames of a disabled router are dropped and counted, and used again later.
pub(crate) fn a_router_can_be_disabled() {
    let (_directory, mut server) = start();
    let routers = get(&server, "/api/v1/system/routers");
    let router = routers[0]["router_id"].as_str().expect("text").to_owned();
    assert_eq!(routers[0]["enabled"], true);
    let path = format!("/api/v1/config/routers/{router}");
    let dropped = "fresnel_dropped_total{component=\"room\",reason=\"router is disabled\"} ";
    let disabled = server.put(&path, &json!({ "name": "Hall", "enabled": false }));
    assert_eq!(disabled.map(|it| it.0), Some(200));
    server.wait_until(|| true);
    wait::until("its frames are dropped", || server.metric(dropped) > 0);
    let shown = get(&server, "/api/v1/system/routers");
    assert_eq!((&shown[0]["name"], &shown[0]["status"]), (&json!("Hall"), &json!("disabled")));
    assert_eq!(server.delete(&path).map(|it| it.0), Some(204));
    let n_dropped = server.metric(dropped);
    let frames = "fresnel_records_total{component=\"room\"} ";
    let n_frames = server.metric(frames);
    wait::until("frames arrive", || server.metric(frames) > n_frames + 200);
    assert!(server.metric(dropped) < n_dropped + 200, "they are used again");
}

/// A report is made in the background, kept over a restart, listed, fetched and removed.
pub(crate) fn reports_are_made_and_kept() {
    let (directory, server) = start();
    let path = "/api/v1/analytics/reports";
    let mut ids = Vec::new();
    for kind in ["occupancy", "activity", "events"] {
        let (status, report) = server.post(path, &json!({ "type": kind, "interval": "1m" }));
        assert_eq!(status, 202, "{report}");
        let report: Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!((&report["type"], &report["status"]), (&json!(kind), &json!("running")));
        ids.push(report["report_id"].as_str().expect("an id").to_owned());
    }
    let fetch = |server: &Server, id: &str| get(server, &format!("{path}/{id}"));
    for id in &ids {
        wait::until("the report is ready", || fetch(&server, id)["status"] != "running");
        let report = fetch(&server, id);
        assert_eq!(report["status"], "ready", "{report}");
    }
    let occupancy = fetch(&server, &ids[0]);
    let row = &occupancy["rows"][0];
    assert!(row["n_persons"].as_u64() >= row["max_persons"].as_u64(), "{row}");
    assert!(row["zone_id"].is_string() && row["interval_starts_at"].is_string(), "{row}");
    let elsewhere = json!({ "type": "events", "zone_id": "kitchn" });
    let (status, problem) = server.post(path, &elsewhere);
    assert!(status == 404 && problem.contains("kitchen"), "{problem}");
    for wrong in [json!({ "type": "weather" }), json!({ "type": "events", "interval": "0s" })] {
        assert_eq!(server.post(path, &wrong).0, 400, "{wrong}");
    }
    server.terminate();
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    assert_eq!(fetch(&server, &ids[0]), occupancy);
    assert_eq!(get(&server, path).as_array().map(Vec::len), Some(3));
    let of_first = format!("{path}/{}", ids[0]);
    assert_eq!(server.delete(&of_first).map(|it| it.0), Some(204));
    assert_eq!(server.get(&of_first).0, 404);
}
