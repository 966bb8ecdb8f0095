//! Network captures.

/// Returns records as datagrams in a network capture (pcap, bare IP), sent by 10.0.0.7.
pub(crate) fn of<'a>(records: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let header: [u32; 6] = [0xA1B2_C3D4, 0x0004_0002, 0, 0, 65_535, 101];
    let packets = records.flat_map(|record| {
        let n_udp = u16::try_from(8 + record.len()).expect("short").to_be_bytes();
        let ip = [[0x45, 0, 0, 0], [0; 4], [64, 17, 0, 0], [10, 0, 0, 7], [10, 0, 0, 1]];
        let udp = [21, 124, 21, 124, n_udp[0], n_udp[1], 0, 0];
        let packet = [ip.as_flattened(), &udp, record].concat();
        let n_bytes = u32::try_from(packet.len()).expect("short");
        let header = [1, 0, n_bytes, n_bytes].map(u32::to_le_bytes);
        [header.as_flattened(), &packet].concat()
    });
    header.into_iter().flat_map(u32::to_le_bytes).chain(packets).collect()
}
