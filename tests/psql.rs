//! Clients of `PostgreSQL`: `psql`, and drivers of Python.

use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::thread;

use tempfile::TempDir;

use crate::access::{Guarded, certificate};
use crate::queries::hostile;
use crate::support::process::Server;
use crate::support::{python, wait};

const PIPELINE: &str = r#"
name = "flat"
api = { listen = "127.0.0.1:0", auth = "off", postgres = { listen = "127.0.0.1:0" } }
sources.room = { type = "simulate", scene = "pipelines/scenes/flat.toml", speed = "recorded" }
operators.zones = { type = "zones", inputs = ["room.truth"], zones.hall.coordinates = [[0, 0], [9, 0], [9, 9], [0, 9]] }
sinks.history = { type = "delta", inputs = ["zones.people", "zones"], path = "history", commit_interval = "1s" }
"#;
/// What the query builder of Grafana asks for its list of tables.
const TABLES_OF_QUERY_BUILDER: &str = r#"
SELECT CASE WHEN quote_ident(table_schema) IN (
    SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
    FROM generate_series(
        array_lower(string_to_array(current_setting('search_path'),','),1),
        array_upper(string_to_array(current_setting('search_path'),','),1)
    ) as i, string_to_array(current_setting('search_path'),',') s
) THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table"
FROM information_schema.tables
WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache')
ORDER BY 1"#;
const TABLES: &str = "public.activities\npublic.csi\npublic.events\npublic.occupancy\npublic.persons\npublic.poses\n\
    public.presence\n";
const POSTGRES: &str = "listening on postgres://127.0.0.1:";
/// Clients at once that send hostile queries.
const N_CLIENTS: usize = 8;
/// How much the server itself may grow by the queries of others.
const MAX_GROWTH_BYTES: u64 = 100 << 20;

/// Starts a pipeline whose history has people. Returns the port for clients of `PostgreSQL`.
fn start() -> (TempDir, Server, u16) {
    let directory = tempfile::tempdir().expect("room");
    let pipelines = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    std::os::unix::fs::symlink(pipelines, directory.path().join("pipelines")).expect("a link");
    fs::write(directory.path().join("flat.toml"), PIPELINE).expect("room");
    let mut server = Server::start(directory.path(), &["run", "flat.toml"]);
    let said = server.wait_for_words(&[POSTGRES]);
    let port = port_of(&said);
    wait::until("people are in the history", || {
        psql(port, "", &["SELECT count(*) > 10 FROM persons"]).trim() == "t"
    });
    (directory, server, port)
}

fn port_of(said: &str) -> u16 {
    let address = said.lines().find_map(|line| line.split_once(POSTGRES));
    address.and_then(|(_, port)| port.trim().parse().ok()).expect("a port")
}

fn run_psql(connection: &str, arguments: &[&str], commands: &[&str]) -> Output {
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--set", "ON_ERROR_STOP=1"]).args(arguments);
    for text in commands {
        command.args(["--command", text]);
    }
    command.env("PGCONNECT_TIMEOUT", "20").arg(connection);
    command.output().expect("psql is installed")
}

/// Runs commands that must succeed. Returns their rows without headers.
fn psql(port: u16, parameters: &str, commands: &[&str]) -> String {
    let connection = format!("host=127.0.0.1 port={port} user=ann dbname=fresnel {parameters}");
    let output = run_psql(&connection, &["--tuples-only", "--no-align"], commands);
    assert!(output.status.success(), "{commands:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Runs commands that must fail. Returns the reason.
fn psql_fails(port: u16, parameters: &str, commands: &[&str]) -> String {
    let connection = format!("host=127.0.0.1 port={port} user=ann dbname=fresnel {parameters}");
    let output = run_psql(&connection, &["--set", "VERBOSITY=verbose"], commands);
    assert!(!output.status.success(), "{commands:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).expect("text")
}

/// Runs a text that may fail. Returns the reason.
fn psql_says(port: u16, text: &str) -> String {
    let connection = format!("host=127.0.0.1 port={port} user=ann dbname=fresnel");
    let output = run_psql(&connection, &[], &[text]);
    String::from_utf8(output.stderr).expect("text")
}

/// `psql` lists tables and columns, and shows rows; what Grafana asks has answers.
pub(crate) fn tables_and_rows_are_shown() {
    let (_directory, _server, port) = start();
    let shown = |command: &str| psql(port, "", &[command]);
    let tables = shown("\\dt");
    for table in ["activities", "events", "occupancy", "poses", "presence"] {
        assert!(tables.contains(&format!("public|{table}|table|")), "{tables}");
    }
    assert!(shown("\\d").contains("public|persons|view|"));
    let columns = shown("\\d persons");
    for column in ["captured_at|timestamp with time zone|", "person|text|", "x_m|real|"] {
        assert!(columns.contains(column), "{columns}");
    }
    for (sql, expected) in [
        ("SELECT 1 AS one, 'a' AS b, NULL AS c, true AS d, 1.5 AS e", "1|a||t|1.5\n"),
        ("SELECT DISTINCT zone FROM persons", "hall\n"),
        ("SELECT to_timestamp(0)", "1970-01-01 00:00:00.000000+00\n"),
        ("SHOW server_version_num", "160006\n"),
        ("SELECT current_setting('server_version_num')::int/100", "1600\n"),
        ("SELECT current_database(), current_schema()", "fresnel|public\n"),
        // The time filter, and the groups of a time series, of Grafana.
        (
            "SELECT count(*) > 0 FROM persons WHERE captured_at BETWEEN '2020-01-01T00:00:00Z' AND \
             '2100-01-01T00:00:00Z'",
            "t\n",
        ),
        (
            "SELECT count(*) > 0 FROM (SELECT floor(extract(epoch from captured_at)/60)*60 AS \"time\", \
             avg(x_m) AS \"value\" FROM persons GROUP BY 1 ORDER BY 1) t",
            "t\n",
        ),
        (
            "SELECT count(*) > 0 FROM (SELECT time_bucket('60.000s', captured_at) FROM persons GROUP BY 1) t",
            "t\n",
        ),
        (
            "SELECT quote_ident(table_name) AS \"table\" FROM information_schema.tables WHERE \
             quote_ident(table_schema) = 'public' AND table_type = 'VIEW'",
            "persons\n",
        ),
        (TABLES_OF_QUERY_BUILDER, TABLES),
        (
            "SELECT quote_ident(column_name) AS \"column\" FROM information_schema.columns WHERE \
             quote_ident(table_schema) = (parse_ident('public.persons'))[1] AND quote_ident(table_name) = \
             (parse_ident('public.persons'))[2] AND column_name = 'zone'",
            "zone\n",
        ),
    ] {
        assert_eq!(shown(sql), expected, "{sql}");
    }
    // Sessions leave nothing in the process that answers them.
    let many = "SELECT 1;".repeat(90);
    for _ in 0..10 {
        assert_eq!(psql(port, "", &[&many]), "1\n".repeat(90));
    }
    let several = psql(port, "", &["BEGIN; SELECT 1; SELECT 2; COMMIT", "SELECT 3"]);
    assert_eq!(several, "BEGIN\n1\n2\nCOMMIT\n3\n");
    let long = psql_says(port, "SET statement_timeout = '60s'");
    assert!(long.contains("NOTICE:  queries still end after 30s"), "{long}");
    let in_failed = psql_says(port, "BEGIN; SELECT * FROM nowhere; SELECT 1");
    assert!(in_failed.contains("not found"), "{in_failed}");
    for (sql, code, words) in [
        ("SELECT * FROM person", "42P01", "did you mean `persons`?"),
        ("DROP TABLE poses", "42501", "queries are read-only"),
        ("SELECT 'open", "42601", "syntax error"),
        ("SELECT * FROM '/etc/passwd'", "42P01", "not found"),
        ("SELECT zne FROM persons", "42703", "did you mean `zone`?"),
        ("SHOW ALL", "42000", "settings are not shown"),
        (
            "SET statement_timeout = 300; SELECT count(*) FROM range(0, 100000000000)",
            "57014",
            "longer",
        ),
    ] {
        let reason = psql_fails(port, "", &[sql]);
        assert!(reason.contains(&format!("ERROR:  {code}: ")), "{sql}: {reason}");
        assert!(reason.contains(words), "{sql}: {reason}");
    }
}

/// Drivers of Python prepare statements with parameters of several types, read rows as text and as binary values,
/// use cursors, and cancel.
pub(crate) fn drivers_prepare_statements() {
    let (_directory, server, port) = start();
    let script = r"
import asyncio, asyncpg, datetime, json, os, psycopg, socket, sys, threading, time, urllib.request
port, address = sys.argv[1:]
def running():
    text = urllib.request.urlopen(f'http://{address}/metrics').read().decode()
    name = 'fresnel_sql_queries{kind=' + chr(34) + 'sql' + chr(34) + ',state=' + chr(34) + 'running' + chr(34) + '} '
    return next((int(line[len(name):]) for line in text.splitlines() if line.startswith(name)), 0)
def until(so):
    # Metrics can only be polled.
    for _ in range(6000):
        if so():
            return
        time.sleep(0.01)
    raise AssertionError('waited in vain')
now = datetime.datetime.now(datetime.timezone.utc)
where = f'host=127.0.0.1 port={port} user=ann dbname=fresnel'
with psycopg.connect(where, autocommit=True) as connection:
    zones = 'SELECT zone, count(*) FROM persons WHERE confidence >= %s AND captured_at < %s GROUP BY zone LIMIT %s'
    for _ in range(8):
        [(zone, n)] = connection.execute(zones, (0.5, now, 3)).fetchall()
    assert zone == 'hall' and n > 0
    one = 'SELECT captured_at, captured_at_ns, person, x_m FROM persons ORDER BY 2, 3 LIMIT 1'
    rows = [connection.cursor(binary=binary).execute(one).fetchone() for binary in [False, True]]
    assert rows[0][:3] == rows[1][:3] and abs(rows[0][3] - rows[1][3]) < 1e-4
    assert abs(rows[0][0].timestamp() - rows[0][1] / 1e9) < 1e-3
    try:
        connection.execute('SELECT * FROM nowhere')
        raise AssertionError('there is no such table')
    except psycopg.errors.UndefinedTable:
        pass
    big = connection.execute('SELECT concat(repeat(%s, 1000), value) FROM range(0, 20000) ORDER BY value', ('x',)).fetchall()
    assert len(big) == 20000 and big[-1][0].endswith('19999')
    threading.Thread(target=lambda: (until(lambda: running() == 1), connection.cancel())).start()
    try:
        connection.execute('SELECT count(*) FROM range(0, 100000000000)')
        raise AssertionError('it was cancelled')
    except psycopg.errors.QueryCanceled as error:
        # A query that exceeds its deadline has the same class.
        assert 'user request' in str(error), error
    assert connection.execute('SELECT 1').fetchone() == (1,)
with psycopg.connect(where) as connection:
    assert connection.execute('SELECT %s::text', ('a;b',)).fetchone() == ('a;b',)
    connection.commit()

async def main():
    connection = await asyncpg.connect(f'postgres://ann@127.0.0.1:{port}/fresnel')
    zones = 'SELECT zone, count(*) FROM persons WHERE captured_at < $1 AND confidence >= $2 GROUP BY zone LIMIT $3'
    [(zone, n)] = await connection.fetch(zones, now, 0.5, 2)
    assert zone == 'hall' and n > 0
    n = await connection.fetchval('SELECT count(*) FROM persons WHERE zone = $1', 'nowhere')
    assert n == 0
    async with connection.transaction():
        numbers = [row[0] async for row in connection.cursor('SELECT value FROM range(0, 200) ORDER BY 1')]
    assert numbers == list(range(200))
    poses = await connection.fetch('SELECT * FROM poses LIMIT 2')
    assert len(poses) == 2 and 'id' in json.loads(poses[0]['persons'])[0]
    [(numbers, moment)] = await connection.fetch('SELECT [1.5, 2.5] AS a, now() AS b')
    assert json.loads(numbers) == [1.5, 2.5] and moment.tzinfo is not None
    await connection.close()
    async with asyncpg.create_pool(f'postgres://ann@127.0.0.1:{port}/fresnel', min_size=1, max_size=2) as pool:
        for _ in range(5):
            assert await pool.fetchval('SELECT 1') == 1
asyncio.run(main())
gone = psycopg.connect(where)
query = threading.Thread(target=lambda: gone.execute('SELECT count(*) FROM range(0, 100000000000)'), daemon=True)
query.start()
until(lambda: running() == 1)
socket.socket(fileno=os.dup(gone.pgconn.socket)).shutdown(socket.SHUT_RDWR)
left = time.monotonic()
until(lambda: running() == 0)
# Long before its deadline of 30 seconds.
assert time.monotonic() - left < 15
print('done')";
    assert_eq!(python::run(script, &[&port.to_string(), &server.address]), "done");
}

/// Clients sign in with keys, tokens and passwords. The scopes, the rate limits and the end of a credential are
/// those of HTTP, and connections may be encrypted.
pub(crate) fn credentials_are_those_of_http() {
    let folder = tempfile::tempdir().expect("room");
    certificate(folder.path(), "own");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let tls = format!(
        "tls = {{ listen = \"127.0.0.1:0\", certificate = \"{}\", key = \"{}\" }}",
        file("own.pem"),
        file("own.key")
    );
    let postgres = "postgres = { listen = \"127.0.0.1:0\" }";
    let limits = "rate_limits = { tiny = 3 }";
    let guarded = Guarded::start_api(&format!("{tls}, {postgres}, {limits}"));
    let port = port_of(&guarded.said);
    let one = ["SELECT 1"];
    let with = |user: &str, password: &str| format!("user={user} password={password}");
    let reading = guarded.key("analytics:read pose:read");
    let token = guarded.sign_in();
    let token = token["access_token"].as_str().expect("text");
    for secret in [with("any", &reading), with("any", token), with("admin", &guarded.password)] {
        for mode in ["disable", "require", "verify-ca"] {
            let parameters = format!("{secret} sslmode={mode} sslrootcert={}", file("own.pem"));
            assert_eq!(psql(port, &parameters, &one), "1\n", "{mode}");
        }
    }
    let said = psql_fails(port, "password=", &one);
    assert!(said.contains("password") && !said.contains("SELECT"), "{said}");
    for (secret, words) in [
        (with("admin", "wrong"), "the user or the password is wrong"),
        (with("nobody", &guarded.password), "the user or the password is wrong"),
        (with("any", &format!("{}x", &reading[..reading.len() - 1])), "FATAL"),
        (with("any", &guarded.key("pose:read")), "does not allow this"),
    ] {
        let said = psql_fails(port, &secret, &one);
        assert!(said.contains("FATAL") && said.contains(words), "{said}");
    }
    // A client that is refused cannot stay.
    let startup = b"\x00\x00\x00\x13\x00\x03\x00\x00user\x00ann\x00\x00";
    let password = b"p\x00\x00\x00\x0awrong\x00";
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(&[&startup[..], password].concat()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it closes the connection");
    assert!(String::from_utf8_lossy(&answer).contains("28P01"));
    let tiny = ["keys", "add", "tiny", "--scopes", "analytics:read pose:read", "--tier", "tiny"];
    let tiny = with("any", &guarded.fresnel(&tiny));
    let said = psql_fails(port, &tiny, &["SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4"]);
    assert!(said.contains("53400") && said.contains("no requests are left"), "{said}");
    // A connection whose key is removed can ask no more. The server reads its accounts at least every second, and
    // does not report it.
    let doomed = guarded.key("analytics:read pose:read");
    let id = doomed.split('_').nth(2).expect("an id");
    let remove = format!("\\! {} keys rm {id} > /dev/null", env!("CARGO_BIN_EXE_fresnel"));
    let connection = format!("host=127.0.0.1 port={port} dbname=x {}", with("any", &doomed));
    let mut command = Command::new("psql");
    command.current_dir(guarded.directory.path()).args(["--no-psqlrc", "--tuples-only"]);
    for text in ["SELECT 41", &remove, "\\! sleep 2", "SELECT 42"] {
        command.args(["--command", text]);
    }
    let output = command.arg(connection).output().expect("psql is installed");
    let (rows, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(rows.contains("41") && !rows.contains("42"), "{rows}");
    assert!(said.contains("revoked"), "{said}");
}

/// Eight clients send the worst queries at once. Each gets an error that says why; the server does not grow.
pub(crate) fn hostile_queries_harm_nobody() {
    let postgres = "postgres = { listen = \"127.0.0.1:0\" }";
    let limits = "rate_limits = { authenticated = 1000000 }";
    let mut guarded = Guarded::start_api(&format!("{postgres}, {limits}"));
    let port = port_of(&guarded.said);
    // Each key is a client of its own, so that no query waits for another.
    let keys: Vec<_> = (0..N_CLIENTS).map(|_| guarded.key("analytics:read pose:read")).collect();
    let of_key = |key: &str| format!("password={key}");
    assert_eq!(psql(port, &of_key(&keys[0]), &["SELECT 1"]), "1\n");
    let (pid, before) = (guarded.server.pid(), guarded.server.memory_bytes());
    let hostile = hostile();
    thread::scope(|scope| {
        for (client, key) in keys.iter().enumerate() {
            let parameters = format!("{} options='-c statement_timeout=2s'", of_key(key));
            let queries = hostile.iter().cycle().skip(client).take(hostile.len());
            scope.spawn(move || {
                for (name, sql) in queries {
                    let said = psql_fails(port, &parameters, &[sql]);
                    let codes = ["42000", "42501", "42601", "53200", "54000", "57014"];
                    let has = |code: &&str| said.contains(&format!("ERROR:  {code}: "));
                    assert!(codes.iter().any(has), "{name}: {said}");
                }
            });
        }
    });
    let after = guarded.server.peak_memory_bytes();
    assert!(after < before + MAX_GROWTH_BYTES, "{} MiB, then {}", before >> 20, after >> 20);
    assert_eq!(guarded.server.pid(), pid);
    guarded.server.wait_until(|| true);
    assert_eq!(psql(port, &of_key(&keys[0]), &["SELECT 1"]), "1\n");
}

/// An invalid message ends its connection, and no other.
pub(crate) fn broken_messages_end_their_connection() {
    let (_directory, server, port) = start();
    let before = server.memory_bytes();
    let startup = b"\x00\x00\x00\x13\x00\x03\x00\x00user\x00ann\x00\x00";
    let query = b"Q\x00\x00\x00\x0dSELECT 1\x00";
    let long = [&b"Q\x7f\xff\xff\xff"[..], &[b'x'; 4096]].concat();
    for (name, bytes) in [
        ("another protocol", &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..]),
        ("a query before the startup", query),
        ("a long startup", b"\x7f\xff\xff\xff\x00\x03\x00\x00user"),
        ("a version of the future", b"\x00\x00\x00\x08\x00\x09\x00\x00"),
        ("a long message", &[&startup[..], &long].concat()),
        ("an unknown message", &[&startup[..], b"\x01\x00\x00\x00\x04"].concat()),
        ("a length that is none", &[&startup[..], b"Q\x00\x00\x00\x00"].concat()),
        ("half a startup", &startup[..9]),
        ("half a query", &[&startup[..], &query[..7]].concat()),
        ("no result", &[&startup[..], b"B\x00\x00\x00\x0c\x00a\x00\xff\xff\x00\x00"].concat()),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.write_all(bytes).expect("it reads");
        // It may have closed already.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut answer);
        assert!(!String::from_utf8_lossy(&answer).contains("panicked"), "{name}");
        assert_eq!(psql(port, "", &["SELECT 1"]), "1\n", "after {name}");
    }
    assert!(server.memory_bytes() < before + MAX_GROWTH_BYTES);
}
