/** Every item as `change` answers it, without those for which it answers nothing; the list itself where all stay. */
export function mapped<T>(items: T[], change: (item: T) => T | undefined): T[] {
  let copy: T[] | undefined;
  for (let i = 0; i < items.length; i++) {
    const item = items[i]!;
    const changed = change(item);
    if (changed !== item) copy ??= items.slice(0, i);
    if (copy && changed !== undefined) copy.push(changed);
  }
  return copy ?? items;
}
