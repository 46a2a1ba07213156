// What the page keeps on the device, in IndexedDB: installed models, and hard pictures if the user agrees.

const MODELS = "models"; // two values a channel: what is installed, and the bytes of the model
const KEPT = "kept"; // by name of the picture

let opened: Promise<IDBDatabase> | undefined;

function database(): Promise<IDBDatabase> {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("spanloop", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(MODELS);
      request.result.createObjectStore(KEPT);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** A table of values by a text. Each operation is a transaction: it is there as a whole or not at all. */
class Table<Value> {
  constructor(private readonly name: string) {}

  get(key: string): Promise<Value | undefined> {
    return this.run("readonly", (store) => store.get(key));
  }

  /** Returns the values of all keys that begin with a text, in the order of the keys. */
  beginning(key: string): Promise<Value[]> {
    return this.run("readonly", (store) => store.getAll(IDBKeyRange.bound(key, `${key}\uffff`)));
  }

  all(): Promise<Value[]> {
    return this.run("readonly", (store) => store.getAll());
  }

  /** Writes one or more values, all or none of them. */
  async put(values: Record<string, Value>): Promise<void> {
    await this.run("readwrite", (store) => {
      const requests = Object.entries(values).map(([key, value]) => store.put(value, key));
      return requests[0] as IDBRequest;
    });
  }

  async delete(key: string): Promise<void> {
    await this.run("readwrite", (store) => store.delete(key));
  }

  private async run<Result>(
    mode: IDBTransactionMode,
    operation: (store: IDBObjectStore) => IDBRequest<Result>,
  ): Promise<Result> {
    const transaction = (await database()).transaction(this.name, mode, { durability: "strict" });
    const request = operation(transaction.objectStore(this.name));
    return await new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  }
}

export const modelsTable = <Value>() => new Table<Value>(MODELS);
export const picturesTable = <Value>() => new Table<Value>(KEPT);
