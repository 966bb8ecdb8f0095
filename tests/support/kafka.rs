//! An Apache Kafka for one test, from the jars that `make test` installs: one node that is broker and
//! controller.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::metadata::MetadataPartition;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tempfile::TempDir;

use crate::support::{port, wait};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A broker that ends with the test.
pub(crate) struct Kafka {
    server: Child,
    folder: TempDir,
    port: u16,
}

/// A message that was committed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) headers: Vec<(String, String)>,
}

fn jars() -> Option<PathBuf> {
    std::env::var_os("FRESNEL_KAFKA").map(PathBuf::from)
}

/// Returns true if Java and the broker's jars are installed.
pub(crate) fn there() -> bool {
    let java = Command::new("java").arg("-version").output();
    jars().is_some_and(|jars| jars.is_dir()) && java.is_ok_and(|output| output.status.success())
}

fn java(folder: &Path, arguments: &[&str]) -> Command {
    let jars = jars().expect("make test says where they are").join("*");
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jars).args(arguments);
    command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Kafka {
    /// Starts a broker and waits until it answers.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("room");
        let [port, controller] = port::distinct();
        // Retention has no limit, because the times of messages are those of old captures.
        let properties = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             log.dirs=data\n\
             log.retention.ms=-1\n\
             num.partitions=3\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\n"
        );
        fs::write(folder.path().join("server.properties"), properties).expect("room");
        let format = ["kafka.tools.StorageTool", "format", "-t", "fresnel", "-c"];
        let mut format = java(folder.path(), &format);
        let format = format.arg("server.properties").stderr(Stdio::piped());
        let output = format.output().expect("java starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no storage could be made: {}\n{said}", output.status);
        let server = serve(folder.path());
        let mut kafka = Self { server, folder, port };
        kafka.wait();
        kafka
    }

    /// Kills the broker, as an outage would.
    pub(crate) fn kill(&mut self) {
        self.server.kill().expect("it is ours");
        self.server.wait().expect("it ends");
    }

    /// Starts the broker again, with its data and port.
    pub(crate) fn restart(&mut self) {
        self.server = serve(self.folder.path());
        self.wait();
    }

    /// Returns the broker's address for a pipeline file.
    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns a client's settings.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.brokers()).set("group.id", "test");
        client.set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        client
    }

    /// Creates a topic.
    pub(crate) fn create(&self, topic: &str, n_partitions: i32) {
        self.make(&NewTopic::new(topic, n_partitions, TopicReplication::Fixed(1)));
    }

    /// Creates a topic of one partition with a limit for batches of messages, in bytes.
    pub(crate) fn create_small(&self, topic: &str, max_bytes: usize) {
        let max_bytes = max_bytes.to_string();
        let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        self.make(&topic.set("max.message.bytes", &max_bytes));
    }

    /// Adds partitions to a topic until it has `n_partitions`.
    pub(crate) fn grow(&self, topic: &str, n_partitions: usize) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a client");
        let (partitions, options) = (NewPartitions::new(topic, n_partitions), AdminOptions::new());
        let made = futures::executor::block_on(admin.create_partitions([&partitions], &options));
        assert!(made.expect("it answers").iter().all(Result::is_ok), "no partition could be made");
    }

    fn make(&self, topic: &NewTopic<'_>) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a client");
        let options = AdminOptions::new();
        let made = futures::executor::block_on(admin.create_topics([topic], &options));
        assert!(made.expect("it answers").iter().all(Result::is_ok), "no topic could be made");
    }

    /// Returns true if a topic contains messages.
    pub(crate) fn has_messages(&self, topic: &str) -> bool {
        let consumer: BaseConsumer = self.client().create().expect("a client");
        Self::partitions(&consumer, topic).into_iter().any(|partition| {
            let offsets = consumer.fetch_watermarks(topic, partition, TIMEOUT);
            offsets.is_ok_and(|(low, high)| low < high)
        })
    }

    /// Returns all committed messages of a topic without active writers, ordered by partition and offset.
    pub(crate) fn read(&self, topic: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        self.consume(topic, |message| {
            messages.push(Message {
                partition: message.partition(),
                key: text(message.key()),
                value: text(message.payload()),
                headers: message.headers().map_or_else(Vec::new, |headers| {
                    headers.iter().map(|it| (it.key.to_owned(), text(it.value))).collect()
                }),
            });
        });
        messages.sort_by_key(|message| message.partition);
        messages
    }

    /// Returns the values of all committed messages of a topic without active writers.
    pub(crate) fn read_values(&self, topic: &str) -> Vec<Vec<u8>> {
        let mut values = Vec::new();
        self.consume(topic, |message| values.push(message.payload().expect("a value").to_vec()));
        values
    }

    fn consume(&self, topic: &str, mut each: impl FnMut(&BorrowedMessage<'_>)) {
        let consumer: BaseConsumer = self.client().create().expect("a client");
        let partitions = Self::partitions(&consumer, topic);
        let mut from = TopicPartitionList::new();
        for partition in &partitions {
            let added = from.add_partition_offset(topic, *partition, Offset::Beginning);
            added.expect("an offset");
        }
        consumer.assign(&from).expect("nobody else reads");
        let mut n_ended = 0;
        while n_ended < partitions.len() {
            match consumer.poll(TIMEOUT).expect("it answers") {
                Ok(message) => each(&message),
                Err(KafkaError::PartitionEOF(_)) => n_ended += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn partitions(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("it answers");
        metadata.topics()[0].partitions().iter().map(MetadataPartition::id).collect()
    }

    fn wait(&mut self) {
        let consumer: BaseConsumer = self.client().create().expect("a client");
        wait::until("kafka answers", || {
            let ended = self.server.try_wait().expect("it is ours");
            assert!(ended.is_none(), "it ended before it was ready: {ended:?}");
            consumer.fetch_metadata(None, Duration::from_secs(1)).is_ok()
        });
    }
}

fn serve(folder: &Path) -> Child {
    java(folder, &["kafka.Kafka", "server.properties"]).spawn().expect("java starts")
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.unwrap_or_default().to_vec()).expect("text")
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
