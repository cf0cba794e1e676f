/** Writes all chunks to a stream and closes it; it is aborted when they fail. */
export async function pour(
  chunks: AsyncIterable<Uint8Array>,
  stream: WritableStream<Uint8Array>,
): Promise<void> {
  const writer = stream.getWriter();
  // It rejects with what write() and close() do.
  writer.closed.catch(() => {});
  try {
    for await (const chunk of chunks) await writer.write(chunk);
  } catch (error) {
    await writer.abort(error).catch(() => {});
    throw error;
  }
  await writer.close();
}
