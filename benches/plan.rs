//! Planning: a machine of 1,024 nodes against reading every cell once and sorting every row, and a thousand small
//! machines in one process; and memory that comes and goes, by the number of blocks.

use criterion::{Criterion, criterion_group, criterion_main};
use memtopo::linux::Kernel;
use memtopo_benches::blocks::Blocks;
use memtopo_benches::machine::Machine;
use std::hint::black_box;
use std::time::Duration;

fn planning(c: &mut Criterion) {
    let kernel = Kernel::default();

    let large = Machine::new(1024);
    let plan = large.plan(&kernel);
    assert_eq!(plan.masks.as_ref().map(|masks| masks.online.len()), Some(1024));
    assert!(plan.unknown.is_empty() && plan.tiers.as_ref().is_some_and(|tiers| tiers.len() > 10));
    let mut group = c.benchmark_group("plan-1024");
    group.bench_function("plain", |b| b.iter(|| black_box(&large).read_and_sort()));
    group.bench_function("memtopo", |b| b.iter(|| black_box(&large).plan(&kernel)));
    group.finish();

    let small: Vec<Machine> = (0..1000).map(|number| Machine::new(2 + number % 7)).collect();
    let mut group = c.benchmark_group("plan-small-1000");
    group.bench_function("memtopo", |b| {
        b.iter(|| small.iter().map(|machine| machine.plan(&kernel).nodes.len()).sum::<usize>());
    });
    group.finish();
}

/// The boot layout and a plan that adds as many blocks again and removes them: a machine of 64 TiB by itself, and from
/// 2^10 to 2^20 blocks against the first.
fn coming_and_going(c: &mut Criterion) {
    let large = Blocks::new(1 << 19);
    let mut group = c.benchmark_group("hotplug-64-tib");
    group.bench_function("memtopo", |b| b.iter(|| large.plan(|plan| plan.answers.len())));
    group.finish();

    let mut group = c.benchmark_group("hotplug-growth");
    for order in (10..=20).step_by(2) {
        let machine = Blocks::new(1 << order);
        let name = if order == 10 { "plain".to_owned() } else { format!("memtopo-2^{order}") };
        group.bench_function(name, |b| b.iter(|| machine.plan(|plan| plan.answers.len())));
    }
    group.finish();
}

criterion_group! {
    name = plans;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(3))
        .without_plots();
    targets = planning, coming_and_going
}
criterion_main!(plans);
