import type { Command } from 'commander'

/** The flags of a command that adds a release policy. */
export function withPolicyOptions(command: Command): Command {
  return command
    .requiredOption('--key <key>', 'id or alias of the CMK')
    .option('--job <file>', 'the job.yaml; its image and its digest go into the policy')
    .option('--image <folder>', 'the image, with --allow-any-job')
    .option('--measurement-file <file>', "what the image's builder states, in place of the image")
    .option('--signer <hex>', 'MRSIGNER of that builder')
    .option('--minimum-svn <number>', 'lowest ISVSVN that the builder may state')
    .option('--allow-any-job', 'whoever runs the image may have any query answered')
    .requiredOption('--tee <tee>', 'sgx, or sim: a simulated TEE, which protects nothing')
}
