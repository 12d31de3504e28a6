//! What is asked for again. A delete was carried out, its answer was lost, and before its client is
//! back somebody has made the same anew: that one has to stay.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use oxkeeper_recipes::{
    Barrier, DoubleBarrier, Error, Keeper, Layout, Registry, ServiceInstance, ServiceType,
};

use crate::executor::Sim;
use crate::weather::CALM;
use crate::world::{MS, SECOND, Shared1, fill};

/// One makes `path`, another takes it away and does not hear that it is gone; the first makes it
/// anew meanwhile. What the other was told in the end, if it was.
///
/// The one that makes it anew does not end before the world does.
fn deleted_unheard<M, D, T>(
    path: &str,
    make: impl Fn(Keeper) -> M,
    delete: impl FnOnce(Keeper) -> D,
) -> Option<T>
where
    M: Future<Output = ()> + Send + 'static,
    D: Future<Output = Result<T, Error>> + Send + 'static,
    T: Send + 'static,
{
    let mut sim = Sim::new(5, CALM);
    let (maker, deleter) = (sim.world.connect(0), sim.world.connect(1));
    let world = sim.world.clone();
    let there = || world.lock().czxid(path);
    sim.spawn(0, make(maker.clone()));
    sim.pass_until(20 * SECOND, || there().is_some());
    let first = there().expect("it is made");
    sim.pass(SECOND);

    let told: Shared1<Result<T, Error>> = Shared1::default();
    let (tell, deleting) = (told.clone(), delete(deleter));
    sim.spawn(1, async move { fill(&tell, deleting.await) });
    sim.pass_until(20 * SECOND, || there().is_none());
    assert_eq!(there(), None, "it is deleted");
    assert!(told.lock().unwrap().value.is_none(), "the answer is under way");
    let mut ground = sim.world.lock();
    ground.cut(1);
    ground.freeze(1, SECOND);
    drop(ground);

    sim.spawn(0, make(maker));
    sim.pass_until(900 * MS, || there().is_some());
    let second = there().expect("it is made anew");
    assert!(second > first);
    sim.pass(20 * SECOND);
    assert_eq!(there(), Some(second), "{path} was taken away from who made it anew");
    told.lock().unwrap().value.take().map(|told| told.expect("no error"))
}

#[test]
fn a_barrier_that_is_closed_anew_stays_closed() {
    let close = |keeper| async move {
        Barrier::new(&keeper, "/gate").close().await.unwrap();
    };
    let open = |keeper| async move { Barrier::new(&keeper, "/gate").open().await };
    assert_eq!(deleted_unheard("/gate", close, open), Some(true));
}

#[test]
fn an_instance_that_registers_anew_stays_registered() {
    let register = |keeper| async move {
        let mut instance = ServiceInstance::new("mail", "gateway", "10.0.0.1", 25);
        instance.service_type = ServiceType::Static;
        Registry::new(&keeper, "/services").register(instance).await.unwrap().close().await;
    };
    let unregister = |keeper| async move {
        Registry::new(&keeper, "/services").unregister("mail", "gateway").await
    };
    let path = "/services/mail/gateway";
    assert_eq!(deleted_unheard(path, register, unregister), Some(true));
}

#[test]
fn the_mark_of_those_who_come_next_to_a_double_barrier_stays() {
    // Curator's: by who leaves last. kazoo's: by who begins to leave, and waits then for the other.
    for (layout, out) in [(Layout::Curator, Some(())), (Layout::Kazoo, None)] {
        let came = AtomicBool::new(false);
        let make = |keeper| {
            let first = !came.swap(true, Ordering::Relaxed);
            async move {
                let meeting = DoubleBarrier::new(&keeper, "/meeting", 1).layout(layout);
                let inside = meeting.enter().await.unwrap();
                // The first goes without a word, and the mark stays behind.
                if !first {
                    std::future::pending::<()>().await;
                }
                drop(inside);
            }
        };
        let leave = |keeper| async move {
            let meeting = DoubleBarrier::new(&keeper, "/meeting", 1).layout(layout);
            meeting.enter().await?.leave().await
        };
        assert_eq!(deleted_unheard("/meeting/ready", make, leave), out, "{layout:?}");
    }
}
