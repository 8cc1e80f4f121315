//! From an app id to an address.

use std::hint::black_box;
use std::sync::Arc;

use outrigger_resolver::{
    Answer, Choose, Endpoint, Endpoints, Keep, NameResolver, Random, Request, ResolveError, Resolver,
    RoundRobin,
};
use outrigger_svc::BoxFuture;

use crate::Meter;

const STAGE: &str = "resolver";

/// Finds any app at the same addresses.
struct Fixed(Arc<Endpoints>);

pub(crate) fn measure(meter: &mut impl Meter) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    for (count, choosers) in [(1, &ONE[..]), (3, &SEVERAL[..])] {
        for (name, chooser) in choosers {
            let endpoints = (1..=count).map(|host| Endpoint::new(format!("192.0.2.{host}:50002")));
            let fixed = Arc::new(Fixed(Arc::new(endpoints.collect())));
            let resolver = runtime.block_on(async { Resolver::with_chooser(fixed, chooser()) });
            // A table with some other callees in it.
            for app_id in (0..32).map(|number| format!("app-{number}")) {
                runtime
                    .block_on(resolver.resolve(&request(&app_id)))
                    .expect("any app is found");
            }
            meter.measure(STAGE, name, || {
                resolver.with_cached(black_box(&request("app-17")), |endpoint| endpoint.address.len())
            });
        }
    }
}

type MakeChooser = fn() -> Arc<dyn Choose>;

const ONE: [(&str, MakeChooser); 1] = [("known address, the only one", || Arc::new(Random))];

const SEVERAL: [(&str, MakeChooser); 2] = [
    ("known addresses, one of three by chance", || Arc::new(Random)),
    ("known addresses, one of three in turn", || Arc::new(RoundRobin)),
];

fn request(app_id: &str) -> Request<'_> {
    Request {
        app_id,
        namespace: "default",
        port: 50_002,
    }
}

// === impl Fixed ===

impl NameResolver for Fixed {
    fn resolve<'a>(&'a self, _: Request<'a>) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        let answer = Answer {
            endpoints: Arc::clone(&self.0),
            keep: Keep::Live,
        };
        Box::pin(std::future::ready(Ok(answer)))
    }
}
