/** Lets through `perSecond` in the long run and ten times as many at once. One counter, whoever asks. */
export function bucket(perSecond: number) {
  const most = perSecond * 10;
  let left = most;
  let at = performance.now();
  return {
    /** @returns false when nothing is left */
    take(): boolean {
      const now = performance.now();
      left = Math.min(most, left + ((now - at) * perSecond) / 1_000);
      at = now;
      if (left < 1) return false;
      left--;
      return true;
    },
    giveBack(): void {
      left = Math.min(most, left + 1);
    },
  };
}
