//! Appended messages are read in order, whatever happened to the files.

use std::fs::OpenOptions;
use std::io::Write;

use super::*;
use crate::journal::header::HEADER_BYTES;

const NOW: std::time::Duration = std::time::Duration::ZERO;

fn append(writer: &mut Writer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        writer.append_at(number.cast_signed() * 10, Origin::default(), &number.to_le_bytes());
        writer.write(0, Backlog::More).expect("room");
    }
}

/// Number and arrival time of each message, and the number of lost messages before it.
fn read(reader: &mut Reader) -> Vec<(u64, i64, u64)> {
    reader.sync(NOW).expect("a disk");
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().expect("it can be read") {
        let number = u64::from_le_bytes(entry.message.try_into().expect("eight bytes"));
        entries.push((number, entry.arrived_at_ns, entry.n_lost));
    }
    entries
}

fn all(numbers: std::ops::Range<u64>) -> Vec<(u64, i64, u64)> {
    numbers.map(|number| (number, number.cast_signed() * 10, 0)).collect()
}

#[test]
fn what_was_written_is_read_again_from_any_entry() {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, mut reader) = open(folder.path(), 0).expect("a folder");
    writer.set_bounds(100, JOURNAL_BYTES);
    append(&mut writer, 0..10);
    assert_eq!(read(&mut reader), all(0..10));
    append(&mut writer, 10..15);
    assert_eq!(read(&mut reader), all(10..15), "as it comes");
    drop((writer, reader));
    let (mut writer, mut reader) = open(folder.path(), 0).expect("a folder");
    append(&mut writer, 15..20);
    reader.sync(NOW).expect("a disk");
    let mut offsets = Vec::new();
    while let Some(entry) = reader.next().expect("it can be read") {
        offsets.push(entry.offset);
    }
    for (offset, number) in offsets.into_iter().zip(0..) {
        reader.seek(offset);
        assert_eq!(read(&mut reader), all(number..20));
    }
}

#[test]
fn time_never_goes_back() {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, mut reader) = open(folder.path(), 0).expect("a folder");
    for now_ns in [50, 40, 60] {
        writer.append_at(now_ns, Origin::default(), &0_u64.to_le_bytes());
    }
    writer.write(100, Backlog::Empty).expect("room");
    writer.append_at(90, Origin::default(), &0_u64.to_le_bytes());
    writer.write(90, Backlog::More).expect("room");
    let times: Vec<_> = read(&mut reader).into_iter().map(|(_, time, _)| time).collect();
    assert_eq!(times, [50, 50, 60, 100]);
    assert_eq!(reader.clock_ns(), Some(100));
    drop((writer, reader));
    let (mut writer, mut reader) = open(folder.path(), 0).expect("a folder");
    writer.append_at(10, Origin::default(), &0_u64.to_le_bytes());
    writer.write(10, Backlog::More).expect("room");
    assert_eq!(
        read(&mut reader).last().map(|(_, time, _)| *time),
        Some(100),
        "nor after a restart"
    );
}

#[test]
fn a_torn_end_is_cut_off() {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, _) = open(folder.path(), 0).expect("a folder");
    append(&mut writer, 0..3);
    drop(writer);
    let path = segment_path(folder.path(), 0);
    let whole = fs::read(&path).expect("it is there");
    for n_bytes in 0..whole.len() {
        fs::write(&path, &whole[..n_bytes]).expect("room");
        let n_whole = (n_bytes / (HEADER_BYTES + 8)) as u64;
        let (mut writer, mut reader) = open(folder.path(), 0).expect("a folder");
        writer.append_at(1000, Origin::default(), &7_u64.to_le_bytes());
        writer.write(0, Backlog::More).expect("room");
        let mut expected = all(0..n_whole);
        expected.push((7, 1000, 0));
        assert_eq!(read(&mut reader), expected, "cut at {n_bytes}");
    }
}

#[test]
fn damage_costs_a_segment_and_is_told() {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, mut reader) = open(folder.path(), 0).expect("a folder");
    writer.set_bounds(1, JOURNAL_BYTES);
    append(&mut writer, 0..5);
    let segments = segments(folder.path()).expect("a folder");
    let path = segment_path(folder.path(), segments[2]);
    let mut bytes = fs::read(&path).expect("it is there");
    bytes[HEADER_BYTES] ^= 1;
    fs::write(&path, bytes).expect("room");
    assert_eq!(read(&mut reader), [(0, 0, 0), (1, 10, 0), (3, 30, 1), (4, 40, 0)]);
}

#[test]
fn what_is_too_much_goes_oldest_first_and_is_told() {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, mut reader) = open(folder.path(), 0).expect("a folder");
    writer.set_bounds(1, 3 * (HEADER_BYTES as u64 + 8));
    append(&mut writer, 0..2);
    assert_eq!(read(&mut reader), all(0..2));
    append(&mut writer, 2..9);
    let found = read(&mut reader);
    assert_eq!(found[0], (5, 50, 3), "three were lost");
    assert_eq!(found[1..], all(6..9));
}

#[test]
fn segments_that_nobody_needs_are_removed() {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, mut reader) = open(folder.path(), 0).expect("a folder");
    writer.set_bounds(1, JOURNAL_BYTES);
    append(&mut writer, 0..5);
    assert_eq!(read(&mut reader), all(0..5));
    reader.trim(reader.offset()).expect("a folder");
    assert_eq!(writer.done(), reader.offset());
    let kept = segments(folder.path()).expect("a folder").len();
    assert_eq!(kept, 2, "the last one is written to, and one that is done with stays");
    append(&mut writer, 5..6);
    assert_eq!(read(&mut reader), all(5..6));
}

#[test]
fn a_recording_is_read_without_a_writer() {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, _) = open(folder.path(), 0).expect("a folder");
    append(&mut writer, 0..3);
    drop(writer);
    // Another recorder may have been killed while it wrote.
    let mut file = OpenOptions::new().append(true).open(segment_path(folder.path(), 0));
    file.as_mut().expect("it is there").write_all(&[1; 30]).expect("room");
    let mut reader = open_recording(folder.path()).expect("a folder");
    assert_eq!(read(&mut reader), all(0..3));
}

#[test]
fn origins_are_kept() {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, mut reader) = open(folder.path(), 0).expect("a folder");
    writer.set_bounds(1, JOURNAL_BYTES);
    let sent_by = |sender: &str| Some(sender.parse().expect("an address"));
    let origins = [
        Origin::default(),
        Origin { sender: sent_by("10.0.0.7"), mark: 0 },
        Origin { sender: sent_by("fe80::1"), mark: u64::MAX },
    ];
    let mut expected = Vec::new();
    for origin in origins {
        expected.push((writer.append_at(0, origin, b"message"), origin));
        writer.write(0, Backlog::More).expect("room");
    }
    reader.sync(NOW).expect("a disk");
    for (offset, origin) in expected.iter().copied() {
        let entry = reader.next().expect("it can be read").expect("it is there");
        assert_eq!((entry.offset, entry.origin), (offset, origin));
    }
    drop(writer);
    let mut kept = Vec::new();
    let (writer, _) = open(folder.path(), 0).expect("a folder");
    let told = writer.for_each_kept(|offset, origin, _| kept.push((offset, origin)));
    told.expect("it can be read");
    assert_eq!(kept, expected);
    assert_eq!(writer.last_mark(), Some(u64::MAX));
}

#[test]
fn what_is_made_durable_is_written() {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, _) = open(folder.path(), 0).expect("a folder");
    writer.append_at(0, Origin::default(), &0_u64.to_le_bytes());
    writer.sync().expect("a disk");
    // As if the process had been killed before the entry was visible to the reader.
    drop(writer);
    let (_, mut reader) = open(folder.path(), 0).expect("a folder");
    assert_eq!(read(&mut reader), all(0..1));
}

#[test]
fn damage_in_the_middle_costs_what_is_damaged() {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, _) = open(folder.path(), 0).expect("a folder");
    append(&mut writer, 0..5);
    drop(writer);
    let path = segment_path(folder.path(), 0);
    let whole = fs::read(&path).expect("it is there");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).expect("room");
        let damaged = (at / (HEADER_BYTES + 8)) as u64;
        let (mut writer, mut reader) = open(folder.path(), 0).expect("a folder");
        append(&mut writer, 5..6);
        let mut found = read(&mut reader);
        found.retain(|(number, ..)| *number < 5);
        let n_lost: u64 = found.iter().map(|(.., n_lost)| n_lost).sum();
        let numbers: Vec<_> = found.iter().map(|(number, ..)| *number).collect();
        let expected: Vec<_> = (0..5).filter(|number| *number != damaged).collect();
        assert_eq!(numbers, expected, "byte {at}");
        // The last entry may not have been written completely, so it is not counted.
        assert_eq!(n_lost, u64::from(damaged < 4), "byte {at}");
    }
}

#[test]
fn nothing_new_is_taken_for_what_was_read() {
    for is_gone in [true, false] {
        let folder = tempfile::tempdir().expect("room");
        let (mut writer, mut reader) = open(folder.path(), 0).expect("a folder");
        append(&mut writer, 0..5);
        assert_eq!(read(&mut reader), all(0..5));
        let read_up_to = reader.offset();
        drop((writer, reader));
        // The journal is lost, or is an older copy.
        let path = segment_path(folder.path(), 0);
        let n_bytes = if is_gone { 0 } else { 2 * (HEADER_BYTES as u64 + 8) };
        OpenOptions::new()
            .write(true)
            .open(path)
            .expect("it is there")
            .set_len(n_bytes)
            .expect("so");
        let (mut writer, mut reader) = open(folder.path(), read_up_to).expect("a folder");
        append(&mut writer, 5..8);
        reader.seek(read_up_to);
        let numbers: Vec<_> = read(&mut reader).into_iter().map(|(number, ..)| number).collect();
        assert_eq!(numbers, [5, 6, 7]);
        reader.seek(0);
        let found = read(&mut reader);
        assert_eq!(found[found.len() - 3], (5, 50, 1), "that something may be missing is counted");
        drop((writer, reader));
        let (_writer, mut reader) = open(folder.path(), read_up_to).expect("a folder");
        reader.seek(read_up_to);
        assert_eq!(read(&mut reader).len(), 3, "and it is so after a restart");
    }
}

#[test]
fn one_process_writes() {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, _) = open(folder.path(), 0).expect("a folder");
    append(&mut writer, 0..3);
    let refused = open(folder.path(), 0).expect_err("somebody writes");
    assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    append(&mut writer, 3..4);
    drop(writer);
    let (_, mut reader) = open(folder.path(), 0).expect("nobody writes any more");
    assert_eq!(read(&mut reader), all(0..4));
}
