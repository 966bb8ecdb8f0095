//! SQL of somebody who means harm: the query fails and says why, and the server stays as it is.

use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::thread;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Body;
use ureq::http::Response;

use crate::support::process::Server;
use crate::support::{python, wait};

/// Queries at once, of as many clients.
const N_CLIENTS: usize = 8;
/// How much the server itself may grow by the queries of others.
const MAX_GROWTH_BYTES: u64 = 100 << 20;
/// Never ends by itself.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000000000)";

fn demo() -> (TempDir, Server) {
    let directory = tempfile::tempdir().expect("room");
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    (directory, server)
}

/// Sends a query from one of the addresses of this host: each is a client of its own.
fn ask_from(address: &str, client: usize, query: &Value) -> (u16, Value) {
    let mut stream = connect_from(address, client);
    let body = query.to_string();
    write!(
        stream,
        "POST /api/v1/sql HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        address,
        body.len()
    )
    .expect("it listens");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("it answers with text");
    let status = response.split(' ').nth(1).and_then(|status| status.parse().ok());
    let (_, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    (status.expect("a status"), serde_json::from_str(body).unwrap_or_default())
}

fn connect_from(address: &str, client: usize) -> TcpStream {
    let client = u8::try_from(client).expect("few clients");
    let stream = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let stream = stream.expect("a socket");
    let local = SockaddrIn::new(127, 0, 0, 2 + client, 0);
    bind(stream.as_raw_fd(), &local).expect("an address of this host");
    let remote: SocketAddrV4 = address.parse().expect("an address");
    connect(stream.as_raw_fd(), &SockaddrIn::from(remote)).expect("it listens");
    stream.into()
}

fn answer(server: &Server, query: &Value) -> Value {
    let (status, body) = server.post("/api/v1/sql", query);
    assert_eq!(status, 200, "{query}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// The processes that run queries of a server.
fn processes(server: &Server) -> Vec<u32> {
    let pid = server.pid();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children = children.collect::<Vec<_>>().join(" ");
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    children.filter(|pid| exists(*pid)).collect()
}

fn exists(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

fn cte_bomb() -> String {
    let double =
        |n: usize| format!(", c{n} AS (SELECT * FROM c{0} UNION ALL SELECT * FROM c{0})", n - 1);
    let doubled: String = (1..28).map(double).collect();
    format!("WITH c0 AS (SELECT repeat('x', 100) AS a){doubled} SELECT a FROM c27 ORDER BY a")
}

/// Each query does the worst to a database that it can.
pub(crate) fn hostile() -> Vec<(&'static str, String)> {
    let array = |depth| format!("SELECT {}1 1{}", "ARRAY[".repeat(depth), "]".repeat(depth));
    let text = |sql: &str| sql.to_owned();
    vec![
        ("a parser of exponential time", array(40)),
        ("a parser of exponential time, just allowed", array(8)),
        ("a long text", text("SELECT repeat('a', 2000000000)")),
        (
            "long texts",
            text("SELECT repeat('a', 100000) || v FROM generate_series(1, 1000000) t(v)"),
        ),
        ("doubling", cte_bomb()),
        ("an endless series", text(ENDLESS)),
        (
            "an endless recursion",
            text(
                "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
            ),
        ),
        (
            "a product",
            text(
                "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, \
             generate_series(1, 100000) c WHERE a.value + b.value + c.value = 0",
            ),
        ),
        (
            "a large sort",
            text(
                "SELECT a.value, b.value FROM generate_series(1, 100000) a, generate_series(1, 100000) b \
             ORDER BY b.value, a.value",
            ),
        ),
        ("a large list", text("SELECT array_agg(value) FROM generate_series(1, 10000000000)")),
        ("a long sum", format!("SELECT 1{}", "+1".repeat(20_000))),
        ("many unions", vec!["SELECT 1"; 3_000].join(" UNION ALL ")),
        ("parentheses", format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000))),
        ("much text", text("SELECT repeat('a', 10000) FROM generate_series(1, 99000)")),
    ]
}

/// Eight clients send the worst queries at once. Each gets an error that says why; the server does not grow,
/// and its pipeline goes on.
pub(crate) fn hostile_queries_harm_nobody() {
    let (_directory, mut server) = demo();
    answer(&server, &json!({ "q": "SELECT count(*) FROM poses" }));
    let (pid, before) = (server.pid(), server.memory_bytes());
    let frames = "fresnel_records_total{component=\"room\"} ";
    let n_frames = server.metric(frames);
    let hostile = hostile();
    let address = server.address.clone();
    thread::scope(|scope| {
        for client in 0..N_CLIENTS {
            let queries = hostile.iter().cycle().skip(client).take(hostile.len());
            let address = &address;
            scope.spawn(move || {
                for (name, sql) in queries {
                    let query = json!({ "q": sql, "timeout": "3s" });
                    let (status, problem) = ask_from(address, client, &query);
                    let detail = problem["detail"].as_str().unwrap_or_default();
                    assert!([400, 408, 413, 422].contains(&status), "{name}: {status} {detail}");
                    assert!(!detail.is_empty(), "{name}: why it failed");
                }
            });
        }
    });
    let after = server.peak_memory_bytes();
    assert!(after < before + MAX_GROWTH_BYTES, "{} MiB, then {}", before >> 20, after >> 20);
    assert_eq!(server.pid(), pid);
    server.wait_until(|| true);
    assert!(server.metric(frames) > n_frames, "the pipeline goes on");
    answer(&server, &json!({ "q": "SELECT count(*) FROM poses" }));
    wait::until("few processes wait for queries", || processes(&server).len() <= 2);
}

/// A query ends when somebody cancels it, when its client is gone, and when the server is killed.
pub(crate) fn a_query_ends_with_its_reason() {
    let (_directory, server) = demo();
    let n_running = || server.metric("fresnel_sql_queries{kind=\"sql\",state=\"running\"} ");
    let until_running = |n: u64| wait::until("the number of queries", || n_running() == n);
    let of_client = "/api/v1/sql/mine-1";
    let address = &server.address;
    assert_eq!(server.delete(of_client).expect("it answers").0, 404);
    thread::scope(|scope| {
        let cancelled = scope.spawn(|| ask(address, "mine-1", ENDLESS));
        until_running(1);
        let taken = ask(address, "mine-1", "SELECT 1");
        assert_eq!(taken.status(), 409, "another query has the id");
        assert_eq!(server.delete(of_client).expect("it answers").0, 204);
        let mut response = cancelled.join().expect("it answers");
        assert_eq!(response.status(), 409);
        assert_eq!(response.headers()["x-query-id"], "mine-1");
        let problem: Value = response.body_mut().read_json().expect("JSON");
        assert_eq!(problem["detail"], "the query was cancelled");
    });
    until_running(0);
    let gone = connect_from(address, 0);
    let path = format!("/api/v1/sql?q={}", ENDLESS.replace(' ', "%20"));
    write!(&gone, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).expect("it listens");
    until_running(1);
    drop(gone);
    until_running(0);
    let waiting = connect_from(address, 0);
    write!(&waiting, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address)
        .expect("it listens");
    until_running(1);
    // A query counts from its admission on, a moment before its process starts.
    let mut running = Vec::new();
    wait::until("its process starts", || {
        running = processes(&server);
        !running.is_empty()
    });
    drop(server);
    wait::until("its processes end", || !running.iter().any(|pid| exists(*pid)));
}

/// A client has two queries at once; of the others some wait, and the rest is refused.
pub(crate) fn a_client_that_asks_too_much_waits() {
    let (_directory, server) = demo();
    let (address, endless) = (&server.address, json!({ "q": ENDLESS, "timeout": "2s" }));
    let statuses = thread::scope(|scope| {
        let asked = (0..24).map(|_| scope.spawn(|| ask_from(address, 0, &endless).0));
        let asked: Vec<_> = asked.collect();
        wait::until("some run, and some wait", || {
            server.metric("fresnel_sql_queries{kind=\"sql\",state=\"waiting\"} ") == 4
        });
        assert_eq!(server.metric("fresnel_sql_queries{kind=\"sql\",state=\"running\"} "), 2);
        let (status, rows) = ask_from(address, 1, &json!({ "q": "SELECT 1 AS one" }));
        assert_eq!((status, &rows[0]["one"]), (200, &json!(1)), "others are answered at once");
        asked.into_iter().map(|it| it.join().expect("an answer")).collect::<Vec<_>>()
    });
    assert!(statuses.iter().all(|status| [408, 429].contains(status)), "{statuses:?}");
    assert!(statuses.iter().filter(|status| **status == 429).count() >= 18, "{statuses:?}");
}

/// A process whose query runs on after its answer takes no other query, and a query that is killed leaves no
/// files.
pub(crate) fn a_query_leaves_nothing() {
    let directory = tempfile::tempdir().expect("room");
    let temporary = tempfile::tempdir().expect("room");
    let server = Server::start_with(
        directory.path(),
        &["demo", "--listen", "127.0.0.1:0"],
        &[("TMPDIR", &temporary.path().to_string_lossy())],
    );
    let runs_on = "SELECT '', value FROM generate_series(1, 300000) UNION ALL \
        SELECT repeat('x', 1000000 + value), levenshtein(repeat('a', 300000 + value), repeat('b', 300000)) \
        FROM generate_series(1, 1)";
    let runs_on = json!({ "q": runs_on, "timeout": "5s" });
    wait::until("it has too many rows", || {
        let (status, _) = server.post("/api/v1/sql", &runs_on);
        // The second part, which never yields, can run on the thread that has to send the rows of the first.
        assert!([408, 413].contains(&status), "{status}");
        wait::until("its process has ended", || processes(&server).is_empty());
        status == 413
    });
    let spills = "SELECT value, repeat('x', 500) FROM generate_series(1, 20000000) ORDER BY value % 1000, value DESC";
    let (status, problem) = server.post("/api/v1/sql", &json!({ "q": spills }));
    assert!([408, 422].contains(&status), "{status} {problem}");
    wait::until("its files are gone", || {
        let files = fs::read_dir(temporary.path()).expect("it is there").flatten();
        files.count() <= processes(&server).len()
    });
    let (status, problem) = server.post(
        "/api/v1/sql",
        &json!({ "q": "SELECT CAST(repeat('x', 100000000 + value) AS INT) FROM generate_series(1, 1)" }),
    );
    assert!(status == 400 && problem.len() < 10_000, "{status} {}", problem.len());
}

/// The process of a query uses all CPUs of the server but one.
pub(crate) fn a_query_leaves_a_cpu() {
    let (_directory, server) = demo();
    let address = &server.address;
    let of_server = n_cpus(server.pid());
    thread::scope(|scope| {
        scope.spawn(|| ask(address, "endless", ENDLESS));
        wait::until("its process has the others", || {
            let running = processes(&server);
            running.iter().any(|pid| n_cpus(*pid) == (of_server - 1).max(1))
        });
        assert_eq!(server.delete("/api/v1/sql/endless").expect("it answers").0, 204);
    });
}

/// The number of CPUs that a process may use; none if it has ended.
fn n_cpus(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:"));
    let digits = mask.unwrap_or_default().chars().filter_map(|digit| digit.to_digit(16));
    digits.map(u32::count_ones).sum()
}

/// Rows that are not committed are in the answer, of tables that do not exist yet.
pub(crate) fn uncommitted_rows_are_seen() {
    let directory = tempfile::tempdir().expect("room");
    let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    std::os::unix::fs::symlink(pipelines, directory.path().join("pipelines")).expect("a link");
    let pipeline = "name = \"truth\"\n\
        sources.room = { type = \"simulate\", scene = \"pipelines/scenes/flat.toml\", speed = \"recorded\" }\n\
        sinks.history = { type = \"delta\", inputs = [\"room.truth\", \"room\"], path = \"history\", commit_interval = \"1h\" }\n";
    fs::write(directory.path().join("truth.toml"), pipeline).expect("room");
    let arguments = ["run", "truth.toml", "--listen", "127.0.0.1:0"];
    let server = Server::start(directory.path(), &arguments);
    let count = |sql: &str| answer(&server, &json!({ "q": sql }))[0]["n"].as_u64();
    wait::until("people are seen", || count("SELECT count(*) AS n FROM persons") > Some(100));
    // More than one message between the server and the process of the query.
    wait::until("frames are seen", || {
        let sql = "SELECT count(*) AS n, count(DISTINCT captured_at_ns[1]) AS d FROM csi";
        count(sql) > Some(100)
    });
    assert!(!directory.path().join("history/poses").exists(), "nothing is committed");
}

/// The values of parameters are no part of the statement, however the query is sent.
pub(crate) fn parameters_have_values() {
    let (_directory, server) = demo();
    let injection = "x' OR '1' = '1";
    for (query, expected) in [
        (
            json!({ "q": "SELECT $1 AS a, $2 AS b", "params": [1, "two"] }),
            json!([{ "a": 1, "b": "two" }]),
        ),
        (json!({ "q": "SELECT $x AS a", "params": { "x": 0.5 } }), json!([{ "a": 0.5 }])),
        (
            json!({ "q": "SELECT $x AS a", "params": { "x": injection } }),
            json!([{ "a": injection }]),
        ),
        (json!({ "q": "SELECT 1 AS a WHERE $1", "params": [false] }), json!([])),
        (json!({ "q": "WITH b AS (SELECT $1) SELECT 1 AS a", "params": [1] }), json!([{ "a": 1 }])),
        (
            json!({ "q": "SELECT count(*) AS a FROM poses WHERE captured_at < $t",
                 "params": { "t": "2001-01-01T00:00:00Z" } }),
            json!([{ "a": 0 }]),
        ),
    ] {
        assert_eq!(answer(&server, &query), expected, "{query}");
    }
    for (query, words) in [
        (json!({ "q": "SELECT $1", "params": 1 }), "a list or an object"),
        (json!({ "q": "SELECT $1", "params": [[1]] }), "null, a truth value, a number or text"),
        (json!({ "q": "SELECT $x, $y", "params": { "y": 1 } }), "the parameter `$x` has no value"),
        (json!({ "q": "SELECT 1 LIMIT $1" }), "the parameter `$1` has no value"),
        (json!({ "q": "SELECT $1::text[]", "params": ["{a}"] }), "text cannot be cast to a list"),
        (
            json!({ "q": "SELECT $x", "params": { "x": 1, "y": 1 } }),
            "a value for `$y`; the parameters of the query: $x",
        ),
        (json!({ "q": "SELECT $1 LIMIT $2", "params": [1, 2, 3] }), "a value for `$3`"),
        (json!({ "q": "SELECT 1", "timeout": "31s" }), "at most 30s"),
    ] {
        let (status, problem) = server.post("/api/v1/sql", &query);
        assert!(status == 400 && problem.contains(words), "{query}: {problem}");
    }
    let (status, lines) = server.get(
        "/api/v3/query_sql?db=pose&q=SELECT%20$n%20AS%20n&params=%7B%22n%22:7%7D&format=jsonl",
    );
    assert_eq!((status, lines.as_str()), (200, "{\"n\":7}\n"));
    let influx = json!({ "db": "pose", "q": "SELECT 1 AS n", "format": "csv" });
    assert_eq!(server.post("/api/v3/query_sql", &influx), (200, "n\n1\n".to_owned()));
    let influx = json!({ "db": "telegraf", "q": "SELECT 1" });
    let (status, problem) = server.post("/api/v3/query_sql", &influx);
    assert!(status == 404 && problem.contains("fresnel, pose"), "{problem}");
}

/// Long answers are whole, say how long they are, and are refused above the limits.
pub(crate) fn long_answers_are_whole() {
    let (_directory, server) = demo();
    let sql = "SELECT value, repeat('x', 50) AS text FROM generate_series(1, 90000)";
    for format in ["json_lines", "csv"] {
        let mut response = ask_in(&server.address, "long", sql, format);
        assert_eq!(response.status(), 200);
        let length: usize =
            response.headers()["content-length"].to_str().expect("text").parse().expect("a number");
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string().expect("text");
        assert_eq!(text.len(), length, "{format}");
        assert_eq!(text.lines().count(), 90_000 + usize::from(format == "csv"), "{format}");
    }
    let too_long = "SELECT repeat('x', 1000) FROM generate_series(1, 90000)";
    let (status, problem) = server.post("/api/v1/sql", &json!({ "q": too_long }));
    assert!(status == 413 && problem.contains("64 MiB"), "{status} {problem}");
}

/// A client of Arrow reads the stream as it comes from the server.
pub(crate) fn arrow_reads_the_stream() {
    let (_directory, server) = demo();
    let script = "import json, sys, urllib.request, pyarrow\n\
        query = {'q': 'SELECT value, value * 0.5 AS half FROM generate_series(1, 50000) ORDER BY value', 'format': 'arrow_stream'}\n\
        request = urllib.request.Request(sys.argv[1], json.dumps(query).encode(), {'Content-Type': 'application/json'})\n\
        with pyarrow.ipc.open_stream(urllib.request.urlopen(request)) as stream:\n\
        \x20   table = stream.read_all()\n\
        print(table.num_rows, table['half'].type, table['half'][-1])";
    let url = format!("http://{}/api/v1/sql", server.address);
    assert_eq!(python::run(script, &[&url]), "50000 double 25000.0");
}

/// Tables and columns are described; the engine is not.
pub(crate) fn the_catalog_shows_tables_only() {
    let (_directory, server) = demo();
    let tables = answer(&server, &json!({ "q": "SHOW TABLES" }));
    let tables = tables.as_array().expect("rows").iter();
    let tables: Vec<_> = tables.map(|row| row["table_name"].as_str().expect("text")).collect();
    assert!(tables.contains(&"poses") && tables.contains(&"persons"), "{tables:?}");
    assert!(!tables.contains(&"df_settings"), "{tables:?}");
    let columns = answer(&server, &json!({ "q": "SHOW COLUMNS FROM persons" }));
    assert!(columns.to_string().contains("captured_at"), "{columns}");
    for sql in ["SHOW ALL", "SELECT * FROM information_schema.df_settings", "SHOW FUNCTIONS"] {
        let (status, problem) = server.post("/api/v1/sql", &json!({ "q": sql }));
        assert_eq!(status, 400, "{sql}: {problem}");
    }
}

fn ask(address: &str, id: &str, sql: &str) -> Response<Body> {
    ask_in(address, id, sql, "json")
}

fn ask_in(address: &str, id: &str, sql: &str, format: &str) -> Response<Body> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent.post(format!("http://{address}/api/v1/sql"));
    let request = request.header("x-query-id", id).header("accept-encoding", "identity");
    request.send_json(json!({ "q": sql, "format": format })).expect("it answers")
}
