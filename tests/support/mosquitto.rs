//! A mosquitto broker for one test, from Debian's package.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};

use rumqttc::{Client, Event, MqttOptions, Outgoing, Packet, QoS};
use tempfile::TempDir;

use crate::support::{port, wait};

const LOG: &str = "mosquitto.log";

/// A broker that ends with the test.
pub(crate) struct Mosquitto {
    server: Child,
    folder: TempDir,
    pub(crate) port: u16,
}

/// Returns true if mosquitto is installed.
pub(crate) fn there() -> bool {
    Command::new("mosquitto").arg("-h").output().is_ok()
}

impl Mosquitto {
    /// Starts a broker and waits until it listens.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("room");
        let port = port::free();
        let config = folder.path().join("mosquitto.conf");
        // The broker queues messages for absent clients without a limit, and logs each packet.
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n\
             log_type all\nlog_dest stderr\n"
        );
        fs::write(&config, text).expect("room");
        let log = File::create(folder.path().join(LOG)).expect("room");
        let mut command = Command::new("mosquitto");
        let command = command.arg("-c").arg(config).stdout(Stdio::null()).stderr(log);
        let server = command.spawn().expect("it starts");
        let mut mosquitto = Self { server, folder, port };
        wait::until("mosquitto listens", || {
            let ended = mosquitto.server.try_wait().expect("it is ours");
            assert!(ended.is_none(), "it ended before it was ready: {ended:?}");
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        mosquitto
    }

    /// Publishes messages, each a topic and a payload, and waits until the broker has acknowledged them.
    pub(crate) fn publish(&self, messages: impl IntoIterator<Item = (String, String)>) {
        let options = MqttOptions::new("publisher", "127.0.0.1", self.port);
        let (client, mut connection) = Client::new(options, 1000);
        let mut n_missing = 0;
        for (topic, payload) in messages {
            client.publish(topic, QoS::AtLeastOnce, false, payload).expect("room in the queue");
            n_missing += 1;
        }
        while n_missing > 0 {
            let event = connection.recv().expect("it is connected").expect("it answers");
            n_missing -= usize::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
        }
        client.disconnect().expect("room in the queue");
        while !matches!(connection.recv(), Ok(Ok(Event::Outgoing(Outgoing::Disconnect))) | Err(_)) {
        }
    }

    /// Returns the number of packets, sent or received, whose line in the log contains `description`.
    pub(crate) fn n_packets(&self, description: &str) -> usize {
        let log = fs::read_to_string(self.folder.path().join(LOG)).expect("it writes one");
        log.lines().filter(|line| line.contains(description)).count()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
