//! The fakes keep the contracts of the ports.

use mailrail_test_support::{
    bodies_suite,
    fakes::{MemoryBodies, MemoryQueue, MemoryRecords, MemoryState, MemoryVault},
    outbox_suite, queue_suite, records_suite, state_suite, vault_suite,
};

state_suite!(MemoryState::default());
records_suite!(MemoryRecords::default());
outbox_suite!((MemoryState::default(), MemoryRecords::default()));
bodies_suite!(MemoryBodies::default());
queue_suite!(MemoryQueue::default());
vault_suite!(MemoryVault);

/// A sentence that no suite lists would be a test that never runs.
#[test]
fn every_sentence_is_on_the_list_of_its_suite() {
    let conformance = concat!(env!("CARGO_MANIFEST_DIR"), "/src/conformance");
    let (mut written, mut lists) = (Vec::new(), String::new());
    for folder in [conformance.to_owned(), format!("{conformance}/state"), format!("{conformance}/records")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(path).unwrap();
                let names = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
                written.extend(names.map(|name| name.split(['(', '<']).next().unwrap().to_owned()));
                lists.extend(
                    source.lines().filter(|line| line.starts_with("            ")).flat_map(|line| [line, "\n"]),
                );
            }
        }
    }
    let missing: Vec<&String> = written.iter().filter(|name| !lists.contains(&format!(" {name},\n"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(written.len() > 100);
}
