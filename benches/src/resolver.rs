//! From an app id to an address.

use std::hint::black_box;
use std::sync::Arc;

use outrigger_resolver::balance::{Balance, Ending};
use outrigger_resolver::{
    Answer, Endpoint, Endpoints, Keep, Members, NameResolver, Request, ResolveError, Resolver,
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
    let resolver = |count: usize| {
        let endpoints = (1..=count).map(|host| Endpoint::new(format!("192.0.2.{host}:50002")));
        let fixed = Arc::new(Fixed(Arc::new(endpoints.collect())));
        let resolver = runtime.block_on(async { Resolver::new(fixed) });
        // A table with some other callees in it.
        for app_id in (0..32).map(|number| format!("app-{number}")) {
            runtime
                .block_on(resolver.resolve(&request(&app_id)))
                .expect("any app is found");
        }
        resolver
    };

    let one = resolver(1);
    meter.measure(STAGE, "known address, the only one", || {
        one.with_known(black_box(&request("app-17")), |members| members[0].address.len())
    });
    for (count, name) in [
        (3, "one of three instances, chosen and ended"),
        (100, "one of a hundred instances, chosen and ended"),
    ] {
        let several = resolver(count);
        let mut balance = Balance::new(fastrand::Rng::with_seed(7));
        meter.measure(STAGE, name, || {
            let chosen = several.with_known(black_box(&request("app-17")), |members: &Members| {
                balance.update(members, |member| Arc::clone(&member.address));
                balance.choose()
            });
            let (address, ticket) = chosen.flatten().expect("there are instances");
            balance.end(&ticket, Ending::Answered);
            address.len()
        });
    }
}

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
