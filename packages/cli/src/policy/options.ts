import type { Command } from 'commander'
import { collect } from '../collect.ts'

/** The flags of a command that adds a release policy. */
export function withPolicyOptions(command: Command): Command {
  return command
    .option('--file <file>', 'the whole policy: a template (YAML), or a text of Cedar (.cedar)')
    .option('--key <key>', 'id or alias of the CMK; the policy names the id')
    .option('--job <file>', 'the job.yaml; its image and its digest go into the policy')
    .option(
      '--job-template <file>',
      'a family of jobs (YAML), with --image: cloister policy job-template',
    )
    .option('--image <folder>', 'the image, with --job-template or --allow-any-job')
    .option('--measurement-file <file>', "what the image's builder states, in place of the image")
    .option('--signer <hex>', 'MRSIGNER of that builder')
    .option('--minimum-svn <number>', 'lowest ISVSVN that the builder may state')
    .option('--allow-any-job', 'whoever runs the image may have any query answered')
    .option('--tee <tee>', 'sgx, tdx, sev-snp, or sim: a simulated TEE, which protects nothing')
    .option('--dataset <id>', 'only for this dataset; may be given again', collect)
    .option('--not-before <instant>', 'from then on')
    .option('--not-after <instant>', 'until then')
    .option('--max-releases <number>', 'so many releases in all')
}
