//! The integration tests, in one binary. They start the real program or use a crate as it does.
//!
//! Tests that compare with real captures need a folder of them, `../shared/data` or `FRESNEL_DATA`;
//! others need Python with `deltalake`, ffmpeg and models of networks, `PostgreSQL`, mosquitto, Apache Kafka, a schema registry or an object
//! store, which `make test` installs. Where that is
//! missing they are listed as ignored.

mod access;
mod api_reference;
mod bad_input;
mod boards;
mod captures;
mod cli;
mod clips;
mod cluster;
mod configuration;
mod connections;
mod demo;
mod documents;
mod golden;
mod history;
mod http;
mod inspect;
mod kafka;
mod kernels;
mod layering;
mod lease;
mod motion;
mod mqtt;
mod object_stores;
mod people;
mod poison;
mod power;
mod presence;
mod psql;
mod queries;
mod recovery;
mod reference;
mod resources;
mod serial;
mod sinks;
mod sources;
mod streams;
mod support;
mod traces;
mod tracking;
mod udp;
mod video;

use std::any::Any;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::support::{
    data, ffmpeg, kafka as broker, models, mosquitto, object_store, postgres, python, registry,
};

/// The longest time of a test; the longest of them takes three minutes.
const LIMIT: Duration = Duration::from_mins(15);

/// A test by its function.
macro_rules! trial {
    ($module:ident :: $test:ident) => {
        Trial::test(concat!(stringify!($module), "::", stringify!($test)), || {
            within_limit($module::$test)
        })
    };
    ($module:ident :: $test:ident, needs $there:expr) => {
        trial!($module::$test).with_ignored_flag(!$there)
    };
}

/// Runs a test on a thread of its own, so that one that hangs is a failure with a name.
fn within_limit(test: fn()) -> Result<(), Failed> {
    let (done, is_done) = mpsc::sync_channel(1);
    let running = thread::spawn(move || {
        // The sender is dropped at the end of the test, also by a panic.
        let _done: mpsc::SyncSender<()> = done;
        test();
    });
    match is_done.recv_timeout(LIMIT) {
        Err(RecvTimeoutError::Timeout) => Err(format!("it did not end within {LIMIT:?}").into()),
        _ => running.join().map_err(|panic| panic_message(&*panic).into()),
    }
}

fn panic_message(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

#[expect(clippy::too_many_lines, reason = "it is a list")]
fn main() {
    let (data, python, broker) = (data::there(), python::there(), broker::there());
    let video = ffmpeg::there() && models::there();
    let wild = data && inspect::wild_captures_are_there();
    let trials = vec![
        trial!(layering::crates_use_what_they_may),
        trial!(layering::rooms_of_sources_use_what_they_may),
        trial!(documents::generated_documents_are_current),
        trial!(documents::links_lead_to_files),
        trial!(documents::the_book_lists_its_pages),
        trial!(documents::pipelines_in_documents_are_valid),
        trial!(documents::the_line_of_a_board_is_a_frame),
        trial!(documents::the_tutorial_of_a_sensor_works),
        trial!(cli::commands_are_documented),
        trial!(cli::graphs_have_three_formats),
        trial!(cli::addresses_of_running_pipelines_can_be_short),
        trial!(access::credentials_that_are_wrong_are_refused),
        trial!(access::scopes_decide_what_a_credential_allows),
        trial!(access::sessions_are_refreshed_and_end),
        trial!(access::cookies_are_for_own_pages),
        trial!(access::passwords_cannot_be_guessed),
        trial!(access::users_and_keys_are_managed),
        trial!(access::the_document_is_true, needs python),
        trial!(access::a_generated_client_uses_the_api, needs python),
        trial!(access::the_documented_commands_work),
        trial!(access::only_loopback_is_open),
        trial!(access::streams_end_with_their_credentials),
        trial!(resources::versions_differ_as_they_say),
        trial!(resources::routers_are_listed),
        trial!(resources::templates_make_pipelines),
        trial!(resources::items_are_created_changed_and_removed),
        trial!(resources::a_router_can_be_disabled),
        trial!(resources::reports_are_made_and_kept),
        trial!(resources::what_has_not_changed_is_not_sent_again),
        trial!(access::clients_have_so_many_requests),
        trial!(access::proxies_name_their_clients),
        trial!(access::connections_may_be_encrypted),
        trial!(access::tokens_of_the_issuer_are_accepted),
        trial!(http::errors_are_problem_details),
        trial!(http::the_accept_header_chooses_the_format),
        trial!(http::ambiguous_requests_are_refused),
        trial!(http::long_requests_are_refused),
        trial!(http::pages_of_others_are_refused),
        trial!(http::metrics_are_as_prometheus_expects, needs http::may_check_metrics()),
        trial!(http::paths_make_no_metrics),
        trial!(http::the_document_is_true, needs python),
        trial!(http::the_dashboard_uses_metrics_that_exist),
        trial!(http::bodies_are_compressed),
        trial!(http::the_book_is_served),
        trial!(sinks::json_lines_keep_the_contract),
        trial!(sinks::a_history_keeps_the_contract),
        trial!(sinks::topics_keep_the_contract, needs broker),
        trial!(sinks::live_views_count_records),
        trial!(sources::a_simulation_keeps_the_contract),
        trial!(sources::files_keep_the_contract),
        trial!(sources::videos_keep_the_contract, needs ffmpeg::there()),
        trial!(sources::folders_of_pictures_keep_the_contract, needs ffmpeg::there()),
        trial!(sources::videos_that_are_cut_off_give_what_is_there, needs ffmpeg::there()),
        trial!(sources::videos_that_end_anywhere_are_survived, needs ffmpeg::there()),
        trial!(sources::hostile_videos_are_survived, needs ffmpeg::there()),
        trial!(sources::live_streams_are_opened_again, needs ffmpeg::there()),
        trial!(sources::journals_keep_the_contract),
        trial!(sources::datagrams_keep_the_contract),
        trial!(sources::interfaces_keep_the_contract, needs streams::may_listen()),
        trial!(sources::connections_keep_the_contract),
        trial!(sources::serial_ports_keep_the_contract),
        trial!(sources::mqtt_keeps_the_contract, needs mosquitto::there()),
        trial!(sources::topics_keep_the_contract, needs broker),
        trial!(sources::idle_sources_do_not_end),
        trial!(golden::worker_counts_do_not_matter),
        trial!(golden::records_that_tie_have_an_order),
        trial!(history::a_capture_becomes_rows),
        trial!(history::windows_become_rows),
        trial!(history::every_format_holds_the_same_rows),
        trial!(history::a_condition_on_a_timestamp_chooses_files),
        trial!(history::a_table_without_a_commit_is_empty),
        trial!(history::a_query_misses_nothing_and_counts_nothing_twice),
        trial!(history::memory_has_a_bound_however_many_commits_there_were),
        trial!(psql::tables_and_rows_are_shown, needs postgres::there()),
        trial!(psql::drivers_prepare_statements, needs postgres::there() && python),
        trial!(psql::credentials_are_those_of_http, needs postgres::there()),
        trial!(psql::hostile_queries_harm_nobody, needs postgres::there()),
        trial!(psql::broken_messages_end_their_connection, needs postgres::there()),
        trial!(queries::hostile_queries_harm_nobody),
        trial!(queries::a_query_ends_with_its_reason),
        trial!(queries::a_client_that_asks_too_much_waits),
        trial!(queries::a_query_leaves_a_cpu),
        trial!(queries::a_query_leaves_nothing),
        trial!(queries::uncommitted_rows_are_seen),
        trial!(queries::parameters_have_values),
        trial!(queries::long_answers_are_whole),
        trial!(queries::the_catalog_shows_tables_only),
        trial!(queries::arrow_reads_the_stream, needs python),
        trial!(resources::people_have_a_summary_and_a_path),
        trial!(resources::pages_miss_nothing_and_repeat_nothing),
        trial!(resources::zones_know_who_is_there),
        trial!(resources::what_happened_is_summed_up),
        trial!(resources::the_api_lists_its_resources),
        trial!(resources::a_pipeline_is_ready_until_it_ends),
        trial!(history::a_person_can_be_forgotten),
        trial!(history::a_person_can_be_forgotten_meanwhile),
        trial!(recovery::a_killed_run_loses_and_doubles_nothing),
        trial!(recovery::a_run_that_dies_at_a_durable_step_loses_and_doubles_nothing),
        trial!(power::a_cut_loses_and_doubles_nothing, needs power::may_mount()),
        trial!(recovery::a_failed_sync_loses_and_doubles_nothing, needs recovery::may_compile()),
        trial!(recovery::a_worker_that_panics_ends_the_run),
        trial!(recovery::a_supervised_run_is_started_again),
        trial!(recovery::a_source_that_makes_it_crash_is_left_alone),
        trial!(recovery::checkpoints_in_postgres_do_the_same, needs postgres::there()),
        trial!(recovery::a_stopped_run_goes_on_with_other_workers),
        trial!(recovery::killed_windows_are_whole),
        trial!(recovery::an_added_source_loses_nothing),
        trial!(recovery::a_replaced_file_is_read),
        trial!(udp::a_damaged_journal_loses_nothing_new),
        trial!(udp::a_journal_has_one_writer),
        trial!(recovery::a_run_that_was_taken_over_ends),
        trial!(recovery::state_that_does_not_fit_is_refused),
        trial!(lease::a_second_start_is_refused),
        trial!(lease::a_start_that_fails_costs_an_earlier_run_nothing),
        trial!(lease::a_standby_starts_when_the_first_has_ended),
        trial!(lease::a_standby_can_be_stopped),
        trial!(lease::a_take_over_hands_over_in_order),
        trial!(lease::a_lost_reply_of_the_store_is_survived, needs postgres::there()),
        trial!(lease::an_outage_of_the_store_is_waited_for, needs postgres::there()),
        trial!(configuration::a_zone_changes_at_a_tick_that_replays_repeat),
        trial!(configuration::changes_in_postgres_do_the_same, needs postgres::there()),
        trial!(configuration::changes_that_make_no_sense_are_refused),
        trial!(configuration::a_link_is_calibrated_again),
        trial!(connections::silent_clients_keep_nobody_out),
        trial!(connections::slow_clients_delay_nobody),
        trial!(connections::idle_websockets_are_counted_and_small),
        trial!(cluster::a_stopped_run_goes_on_with_other_processes),
        trial!(cluster::a_lost_process_ends_the_run),
        trial!(cluster::a_process_that_cannot_start_ends_the_others),
        trial!(cluster::processes_that_differ_are_refused),
        trial!(cluster::mistakes_in_hosts_are_told),
        trial!(kafka::records_become_messages, needs broker),
        trial!(kafka::values_can_have_schemas, needs broker && python && registry::there()),
        trial!(kafka::a_killed_run_commits_each_record_once, needs broker),
        trial!(kafka::an_outage_is_waited_for, needs broker),
        trial!(kafka::a_run_that_was_taken_over_commits_nothing, needs broker),
        trial!(kafka::a_silent_partition_loses_nothing, needs broker),
        trial!(kafka::a_partition_that_comes_later_is_read, needs broker),
        trial!(kafka::an_empty_partition_does_not_delay_a_later_one, needs broker),
        trial!(kafka::a_message_from_the_future_stays_refused, needs broker),
        trial!(kafka::errors_of_a_source_alone_are_written, needs broker),
        trial!(kafka::a_partition_of_nonsense_holds_nothing_back, needs broker),
        trial!(kafka::a_record_that_is_too_large_is_a_dead_letter, needs broker),
        trial!(mqtt::a_killed_run_loses_and_doubles_no_message, needs mosquitto::there()),
        trial!(mqtt::messages_are_acknowledged_behind_checkpoints, needs mosquitto::there()),
        trial!(mqtt::many_messages_are_waiting, needs mosquitto::there()),
        trial!(poison::a_time_far_ahead_is_an_error),
        trial!(poison::a_clock_that_was_ahead_stops_nobody),
        trial!(poison::a_field_that_is_added_is_a_column),
        trial!(poison::a_time_far_ahead_in_a_file_is_an_error),
        trial!(poison::an_unknown_schema_is_an_error),
        trial!(serial::lines_become_frames),
        trial!(streams::devices_connect_and_send),
        trial!(streams::a_source_that_drops_everything_is_reported),
        trial!(streams::a_file_is_followed),
        trial!(streams::a_capture_is_sent_on),
        trial!(streams::an_interface_is_heard, needs streams::may_listen()),
        trial!(boards::a_building_full_loses_nothing),
        trial!(udp::datagrams_become_presence),
        trial!(udp::a_killed_run_loses_no_datagram_that_it_took),
        trial!(udp::boards_are_discovered),
        trial!(udp::a_board_that_makes_it_crash_is_left_alone),
        trial!(udp::a_socket_that_is_left_alone_is_read_later),
        trial!(udp::a_recording_is_replayed),
        trial!(udp::a_silent_socket_holds_nothing_back),
        trial!(udp::what_there_was_no_room_for_is_counted),
        trial!(history::a_real_capture_becomes_rows, needs data),
        trial!(object_stores::a_history_is_exact, needs object_store::there()),
        trial!(object_stores::several_processes_share_a_history, needs object_store::there()),
        trial!(object_stores::an_outage_is_waited_for, needs object_store::there()),
        trial!(object_stores::mistakes_are_reported, needs object_store::there()),
        trial!(object_stores::live_rows_are_seen, needs object_store::there()),
        trial!(object_stores::others_read_the_tables, needs object_store::there() && python),
        trial!(history::another_reader_counts_the_same, needs data && python),
        trial!(demo::people_move_and_sql_answers),
        trial!(demo::records_are_seen_while_they_flow),
        trial!(demo::its_components_tell_what_they_cost),
        trial!(demo::a_signal_ends_it_in_order),
        trial!(demo::requests_that_make_no_sense_are_refused),
        trial!(traces::commits_and_checkpoints_are_traced),
        trial!(bad_input::mistakes_in_a_pipeline_are_told),
        trial!(bad_input::a_sink_does_not_write_what_a_source_reads),
        trial!(bad_input::a_fresh_start_says_what_sinks_hold),
        trial!(bad_input::a_small_lead_stalls_nothing),
        trial!(bad_input::garbage_is_counted),
        trial!(bad_input::fields_without_values_are_told),
        trial!(bad_input::errors_can_be_kept),
        trial!(bad_input::what_a_sink_cannot_hold_is_kept_apart),
        trial!(bad_input::what_cannot_be_opened_is_told),
        trial!(bad_input::a_full_disk_is_told),
        trial!(bad_input::sql_only_reads),
        trial!(bad_input::a_missing_history_is_an_error),
        trial!(bad_input::a_later_start_reports_what_it_cannot_do),
        trial!(captures::intel5300_is_bit_for_bit_right, needs data),
        trial!(captures::atheros_is_bit_for_bit_right, needs data),
        trial!(captures::nexmon_is_bit_for_bit_right, needs data),
        trial!(captures::picoscenes_is_bit_for_bit_right, needs data),
        trial!(captures::feitcsi_is_bit_for_bit_right, needs data),
        trial!(captures::ruview_is_bit_for_bit_right, needs data),
        trial!(captures::an_early_recording_is_like_its_datagrams, needs wild),
        trial!(captures::esp32_is_bit_for_bit_right, needs data),
        trial!(captures::aligned_clocks_do_not_jump, needs data),
        trial!(captures::a_host_may_have_noted_the_times, needs data),
        trial!(captures::truncated_captures_are_survived, needs data),
        trial!(inspect::a_capture_is_told_by_its_bytes),
        trial!(inspect::shapes_in_turn_keep_their_order),
        trial!(inspect::a_capture_is_drawn),
        trial!(inspect::tables_are_read_by_others, needs python),
        trial!(inspect::real_captures_are_told_by_their_bytes, needs data),
        trial!(inspect::captures_in_the_wild_are_told, needs wild),
        trial!(kernels::phase_methods_agree_with_the_reference, needs data),
        trial!(kernels::moving_variance_agrees_with_the_reference, needs data),
        trial!(kernels::outliers_agree_with_the_reference, needs data),
        trial!(kernels::the_chain_of_motion_agrees_with_scipy, needs python),
        trial!(motion::recordings_of_each_chip_are_told_apart, needs data),
        trial!(motion::a_minute_has_no_error, needs data),
        trial!(motion::disturbances_are_no_motion),
        trial!(tracking::scores_agree_with_motmetrics, needs python),
        trial!(tracking::real_sequences_are_tracked_better_than_by_peers, needs data && python),
        trial!(tracking::what_cannot_be_evaluated_is_reported),
        trial!(clips::detections_do_not_depend_on_workers_and_kills, needs video),
        trial!(clips::a_camera_follows_people, needs video),
        trial!(clips::a_camera_and_wifi_follow_people, needs video),
        trial!(video::a_clip_has_all_its_pictures, needs video),
        trial!(video::a_killed_run_goes_on_at_its_picture, needs video),
        trial!(video::damage_is_reported, needs video),
        trial!(video::what_is_no_video_is_an_error, needs video),
        trial!(video::a_file_that_a_server_does_not_have_is_an_error, needs video),
        trial!(video::videos_that_cannot_be_are_reported_by_validate),
        trial!(video::people_in_pictures_are_found, needs data && models::there()),
        trial!(video::models_are_listed_added_and_removed, needs models::there()),
        trial!(video::detections_are_files, needs video),
        trial!(video::detections_that_fail_say_why, needs video),
        trial!(presence::somebody_who_is_still_is_present),
        trial!(presence::an_empty_room_is_absent),
        trial!(people::of_the_demo_keep_their_names),
        trial!(people::are_found_in_more_noise),
        trial!(people::are_found_without_one_receiver),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
