/** Preloaded into every process under test (also a peer's own): tells its CPU time and memory over IPC. */
process.on("message", (message: { type?: string }) => {
  if (message.type !== "probe") return;
  const gc = (globalThis as { gc?: () => void }).gc;
  if ((message as { gc?: boolean }).gc) for (let i = 0; i < 3; i++) gc?.();
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, external } = process.memoryUsage();
  process.send!({ type: "probe", cpuUs: user + system, rss, heap: heapUsed + external });
});
// Whoever is left over when the benchmark is stopped would run for ever.
process.on("disconnect", () => process.exit());
