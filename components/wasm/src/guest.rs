//! Instances of a module, and how they are called.

use std::fmt;

use outrigger_svc::BoxError;
use wasmi::{Config, Engine, Error, Linker, Memory, Module, Store, TypedFunc, TypedResumableCall, Val};

use crate::host::{Host, Settings};
use crate::tap::Tap;
use crate::{abi, wasi};

/// A compiled module that instances are made of.
pub(crate) struct Code {
    engine: Engine,
    module: Module,
    linker: Linker<Host>,
    settings: Settings,
}

/// An instance.
pub(crate) struct Guest {
    store: Store<Host>,
    memory: Memory,
    handle_request: TypedFunc<(), i64>,
    handle_response: TypedFunc<(i32, i32), ()>,
}

/// Steps that a module may take for a request, or for an answer: one that runs on must not stop a worker.
const FUEL: u64 = if cfg!(test) { 1_000_000 } else { 500_000_000 };

// === impl Code ===

impl Code {
    /// Compiles a module.
    pub(crate) fn new(bytes: &[u8], settings: Settings) -> Result<Self, BoxError> {
        let mut config = Config::default();
        config.consume_fuel(true);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, bytes).map_err(|error| format!("wasm: {error}"))?;
        let mut linker = Linker::new(&engine);
        abi::define(&mut linker).map_err(|error| error.to_string())?;
        wasi::define(&mut linker, &module).map_err(|error| error.to_string())?;
        Ok(Self {
            engine,
            module,
            linker,
            settings,
        })
    }

    /// Makes an instance and lets it prepare itself.
    pub(crate) fn start(&self) -> Result<Guest, BoxError> {
        let mut store = Store::new(&self.engine, Host::new(self.settings.clone()));
        store.limiter(|host| &mut host.limits);
        let failed = |error: Error| BoxError::from(format!("wasm: {error}"));
        store.set_fuel(FUEL).map_err(failed)?;
        let instance = self
            .linker
            .instantiate_and_start(&mut store, &self.module)
            .map_err(failed)?;
        for name in ["_initialize", "_start"] {
            if let Ok(start) = instance.get_typed_func::<(), ()>(&store, name) {
                match start.call(&mut store, ()) {
                    Err(error) if error.i32_exit_status() != Some(0) => return Err(failed(error)),
                    _ => {}
                }
            }
        }
        let missing = |name: &str| format!("wasm: the module does not export {name}");
        let memory = instance
            .get_memory(&store, "memory")
            .ok_or_else(|| missing("memory"))?;
        let handle_request = instance
            .get_typed_func(&store, "handle_request")
            .map_err(|_| missing("handle_request"))?;
        let handle_response = instance
            .get_typed_func(&store, "handle_response")
            .map_err(|_| missing("handle_response"))?;
        Ok(Guest {
            store,
            memory,
            handle_request,
            handle_response,
        })
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

// === impl Guest ===

impl Guest {
    /// What the instance has in its hands.
    pub(crate) fn host(&mut self) -> &mut Host {
        self.store.data_mut()
    }

    /// Lets it handle the request; the result is whether the request goes on, and what it wants to remember.
    pub(crate) async fn handle_request(&mut self, body: &mut Tap) -> Result<(bool, i32), BoxError> {
        self.store.set_fuel(FUEL).map_err(|error| error.to_string())?;
        let call = self.handle_request.call_resumable(&mut self.store, ());
        let answer = self.drive(call, body).await?;
        let [high, low] = [answer >> 32, answer].map(|half| half as i32);
        Ok((low == 1, high))
    }

    /// Lets it handle the answer.
    pub(crate) async fn handle_response(
        &mut self,
        context: i32,
        is_error: bool,
        body: &mut Tap,
    ) -> Result<(), BoxError> {
        self.store.set_fuel(FUEL).map_err(|error| error.to_string())?;
        let arguments = (context, i32::from(is_error));
        let call = self.handle_response.call_resumable(&mut self.store, arguments);
        self.drive(call, body).await
    }

    /// Tells what it has printed.
    pub(crate) fn log_output(&mut self) {
        let host = self.store.data_mut();
        for (name, output) in [("stdout", &mut host.stdout), ("stderr", &mut host.stderr)] {
            if !output.is_empty() {
                let text = String::from_utf8_lossy(output);
                tracing::debug!(
                    target: "dapr.contrib",
                    component = &*host.settings.log_name,
                    "wasm {name}: {text}"
                );
                output.clear();
            }
        }
    }

    /// Runs a call to its end; whenever it waits for a part of the body, that is fetched first.
    async fn drive<R>(
        &mut self,
        mut call: Result<TypedResumableCall<R>, Error>,
        body: &mut Tap,
    ) -> Result<R, BoxError>
    where
        R: wasmi::WasmResults,
    {
        loop {
            let waiting = match call.map_err(|error| format!("wasm: {error}"))? {
                TypedResumableCall::Finished(result) => return Ok(result),
                TypedResumableCall::OutOfFuel(_) => return Err("wasm: the module takes too long".into()),
                TypedResumableCall::HostTrap(waiting) => waiting,
            };
            let Some(wanted) = self.store.data_mut().wanted.take() else {
                return Err(format!("wasm: {}", waiting.host_error()).into());
            };
            let (piece, is_last) = body.read(wanted.limit).await?;
            self.memory
                .write(&mut self.store, wanted.address, &piece)
                .map_err(|error| format!("wasm: {error}"))?;
            let answer = i64::from(is_last) << 32 | i64::try_from(piece.len())?;
            call = waiting.resume(&mut self.store, &[Val::I64(answer)]);
        }
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").finish_non_exhaustive()
    }
}
