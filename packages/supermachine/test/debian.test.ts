import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { requireFacility } from "@supermachine-internal/testing";
import { ImageStore, Vm } from "supermachine";
import { afterAll, beforeAll, expect } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { cachedImage } from "./images.js";

const execute = promisify(execFile);
const { describe, test } = requireFacility("root", "program:umoci", "program:debootstrap");

describe(`a minimal Debian on ${hypervisor}`, () => {
  let directory = "";
  let store: ImageStore;
  let image = "";

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "supermachine-debian-"));
    store = new ImageStore(join(directory, "store"));
    image = await cachedImage("debian-");
    await store.import(`${join(image, "layout")}:debian`, { name: "debian" });
    await writeFile(join(directory, "words"), "pear\napple\nquince\napple\n");
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  const start = (name = "debian") =>
    Vm.start({
      image: name,
      store,
      hypervisor,
      memoryMiB: 512,
      mounts: [{ host: directory, guest: "/src" }],
    });

  test("runs its package manager, a pipeline over a share, and writes to the host", async () => {
    await using vm = await start();
    const apt = await vm.exec(["apt-get", "--version"]);
    expect(apt.stdout).toMatch(/^apt \d/);
    const sorted = await vm.exec([
      "bash",
      "-c",
      "sort /src/words | uniq -c | tee /src/counted | wc -l",
    ]);
    expect(sorted).toMatchObject({ code: 0, stdout: "3\n" });
    expect(await readFile(join(directory, "counted"), "utf8")).toContain("2 apple");
  });

  test("has the very files that a reference unpacker makes, from a layout and from a docker-archive", async () => {
    const bundle = join(directory, "bundle");
    await execute("umoci", ["unpack", "--image", `${join(image, "layout")}:debian`, bundle]);
    const count = "ls -laR /usr | wc -l";
    const reference = await execute("chroot", [join(bundle, "rootfs"), "sh", "-c", count]);
    expect(Number(reference.stdout)).toBeGreaterThan(1000);
    await store.import(join(image, "docker-archive.tar"), { name: "from-archive" });
    for (const name of ["debian", "from-archive"]) {
      await using vm = await start(name);
      expect((await vm.exec(["sh", "-c", count])).stdout).toBe(reference.stdout);
    }
  });
});
