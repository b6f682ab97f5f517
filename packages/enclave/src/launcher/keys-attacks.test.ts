import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FilesScene, hasPython } from './files-scene.test.support.ts'
import {
  brokerDefinition,
  PRELUDE,
  UPPER_CASE,
  withOtherOutput,
} from './keys-scene.test.support.ts'
import { findBubblewrap } from './start.ts'
import { World } from './world.test.support.ts'

const canRun = hasPython && findBubblewrap() !== undefined

let world: World

beforeAll(async () => {
  if (canRun) world = await World.start({ definition: brokerDefinition() })
})

afterAll(async () => {
  await world?.stop()
})

/** What a hostile program is made of; it prints what it was answered. */
const HOSTILE = `${PRELUDE}
one = broker.write(result, 'one', b'1')
def committed(*parts, to='result', mode='append'):
    return broker.code_of('commit', output=to, mode=mode, parts=list(parts))
def answers(*codes):
    print(json.dumps(codes))
    if committed(one, mode='replace') != 'ok':
        sys.exit('the broker is gone')
`

/** Runs a hostile program that in the end commits one honest part. */
async function attack(program: string): Promise<readonly unknown[]> {
  const scene = await FilesScene.make(world, [`${HOSTILE}${program}`])
  const outcome = await scene.launch()
  expect(outcome).toMatchObject({ outcome: 'completed', stderr: '' })
  expect(await scene.results()).toEqual({ one: '1' })
  return JSON.parse(outcome.stdout)
}

describe.runIf(canRun)('a hostile program at the key broker', () => {
  it('is given no key of what is not its job’s', async () => {
    expect(
      await attack(`
file = broker.parts('people')[0]['fileId']
new = {'fileId': secrets.token_hex(16), 'fixedDigest': '00' * 32}
answers(
    broker.code_of('open', input='persons', files=[file]),
    broker.code_of('open', input='result', files=[one['fileId']]),
    broker.code_of('open', input='people', files=[file, one['fileId']]),
    broker.code_of('parts', input='../people', size=1, **{'from': 0}),
    broker.code_of('create', output='people', files=[new]),
    broker.code_of('create', output='result', files=[new, new]),
    broker.code_of('create', output='result', files=[{**new, 'fileId': one['fileId']}]),
    broker.code_of('create', output='result', files=[new]),
    broker.ask('parts', input='people', size=1000, **{'from': 2})['parts'],
)`),
    ).toEqual([
      ...['UNKNOWN_INPUT', 'UNKNOWN_INPUT', 'UNKNOWN_FILE', 'UNKNOWN_INPUT'],
      ...['UNKNOWN_OUTPUT', 'DENIED', 'DENIED', 'ok', []],
    ])
  })

  it('commits nothing but sealed files under keys that it was given for them', async () => {
    expect(
      await attack(`
def changed(**change):
    return committed({**one, **change})
own = {**one, 'fileId': secrets.token_hex(16)}
own['name'] = f"part-{own['number']:05d}-{own['fileId']}.sealed"
os.link(os.path.join(result['partsFolder'], one['name']), os.path.join(result['partsFolder'], own['name']))
input_part = broker.parts('people')[0]
answers(
    committed(own),
    committed({**input_part, 'path': 'stolen'}),
    changed(name='../people/' + input_part['name']),
    changed(name=input_part['name']),
    changed(number=(one['number'] + 1) % 2**32),
    changed(number=5, name=f"part-00005-{one['fileId']}.sealed"),
    changed(fixedDigest='00' * 32),
    changed(length=one['length'] + 1),
    changed(lastTag='00' * 16),
    changed(path='/etc/passwd'),
    changed(path='../one'),
    committed(one, one),
    committed(one) + committed(one),
)`),
    ).toEqual([...Array(12).fill('PART'), 'okPART'])
  })

  it('commits no two parts at one place', async () => {
    expect(
      await attack(`
two = broker.write(result, 'one/two', b'2')
three = broker.write(result, 'one', b'3')
four = broker.write(result, 'four', b'4', number=one['number'])
answers(
    committed(one, two), committed(one, three), committed(one, four),
    committed(one), committed(two), committed(three), committed(four),
)`),
    ).toEqual(['PART', 'PART', 'PART', 'ok', 'PART', 'PART', 'PART'])
  })

  it('commits no link, no pipe, no folder, and nothing that is cut or changed', async () => {
    expect(
      await attack(`
def in_place_of(make):
    part = broker.write(result, secrets.token_hex(8), bytes(9000))
    path = os.path.join(result['partsFolder'], part['name'])
    make(path)
    return committed(part)
def replaced(make):
    def act(path):
        os.rename(path, path + '.aside')
        make(path)
    return act
def change(at):
    def act(path):
        with open(path, 'r+b') as file:
            file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
    return act
answers(
    in_place_of(replaced(lambda path: os.symlink(path + '.aside', path))),
    in_place_of(replaced(lambda path: os.symlink('/proc/1/mem', path))),
    in_place_of(replaced(os.mkfifo)),
    in_place_of(replaced(os.mkdir)),
    in_place_of(os.unlink),
    in_place_of(lambda path: os.truncate(path, 4096 + 4096)),
    in_place_of(change(30)),
    in_place_of(change(-1)),
    in_place_of(change(-20)),
)`),
    ).toEqual(Array(9).fill('PART'))
  })

  it('moves nothing from one output to another', async () => {
    const scene = await FilesScene.make(world, [
      `${HOSTILE}
other = job['outputs'][1]
folder = other['partsFolder']
here = broker.write(result, 'here', b'', folder=folder)
as_other = {**other, 'name': 'result'}
forged = broker.write(as_other, 'forged', b'', folder=folder)
broker.commit(other, [])
answers(committed(here), committed(here, to='other'), committed(forged, to='other'))
`,
    ])
    const outcome = await scene.launch(await withOtherOutput(scene))
    expect(outcome).toMatchObject({ outcome: 'completed', stderr: '' })
    // What lies in the other's folder, what has a key of this one, and what claims to be the other's.
    expect(JSON.parse(outcome.stdout)).toEqual(['PART', 'PART', 'PART'])
  })

  it.each([
    ['changes', "file.write(b'!')"],
    ['removes', 'os.unlink(path)'],
    ['replaces by a link', "os.rename(path, path + 'x'); os.symlink(path + 'x', path)"],
  ])('that %s a part once it is committed ends its job', async (_what, act) => {
    const scene = await FilesScene.make(world, [
      `${HOSTILE}
broker.commit(result, [one])
path = os.path.join(result['partsFolder'], one['name'])
with open(path, 'ab') as file:
    ${act}
`,
    ])
    const outcome = await scene.launch()
    expect(outcome).toMatchObject({ outcome: 'failed', failure: { code: 'OUTPUT' } })
    expect(readdirSync(scene.outputFolder)).toEqual([])
  })

  it('puts nothing in the place of a part of an earlier version', async () => {
    const again = `
broker.commit(result, [broker.write(result, 'x', os.urandom(9), 3, result['datasetId'])])
`
    const scene = await FilesScene.make(world, [`${PRELUDE}${again}`])
    expect(await scene.launch()).toMatchObject({ outcome: 'completed', stderr: '' })
    const name = readdirSync(scene.outputFolder).find(file => file.endsWith('.sealed')) ?? ''
    const before = readFileSync(join(scene.outputFolder, name))
    const outcome = await scene.launch()
    expect(outcome).toMatchObject({
      failure: { code: 'OUTPUT', message: expect.stringMatching(/there is a file part-00003-/) },
    })
    expect(readFileSync(join(scene.outputFolder, name))).toEqual(before)
  })

  it('that speaks out of form is told so once, and cut off', async () => {
    expect(
      await attack(`
def said(*frames):
    other = Broker()
    for frame in frames:
        try:
            other.socket.sendall(frame)
        except OSError:
            pass
    replies = []
    try:
        while (reply := other.receive()) is not None:
            replies.append(reply['error']['code'] if 'error' in reply else 'ok')
    except ConnectionResetError:
        pass
    return replies
def framed(text):
    return struct.pack('>I', len(text)) + text
job_request = framed(b'{"ask":"job"}')
answers(
    said(struct.pack('>I', 2**24 + 1)),
    said(struct.pack('>I', 2**32 - 1) + bytes(1000)),
    said(framed(b'{"ask":"job"')),
    said(framed(b'\\xff')),
    said(framed(b'')),
    said(framed(b'[' * 100000)),
    said(framed(b'["ask","job"]')),
    said(framed(b'{"ask":"keys"}')),
    said(framed(b'{"ask":"job","more":1}')),
    said(framed(b'{"ask":"job","__proto__":{}}')),
    said(framed(b'{"ask":"parts","input":"people","from":-1,"size":1}')),
    said(framed(b'{"ask":"parts","input":"people","from":0,"size":1001}')),
    said(framed(b'{"ask":"open","input":"people","files":["' + b'A' * 32 + b'"]}')),
    said(job_request + job_request + framed(b'?') + job_request),
)`),
    ).toEqual([...Array(13).fill(['MALFORMED']), ['ok', 'ok', 'MALFORMED']])
  })

  it('with a thousand connections, and half a frame in each, does not stop the broker', async () => {
    expect(
      await attack(`
others = []
for number in range(1000):
    try:
        other = Broker()
        other.socket.settimeout(5)
        others.append(other)
    except OSError:
        pass
for number, other in enumerate(others):
    try:
        other.socket.sendall(struct.pack('>I', 2**24)[: number % 5])
    except OSError:
        pass
alive = broker.ask('job')['version']
large = 0
for other in others:
    try:
        # Else what the kernel keeps of a thousand could be more than this program's memory.
        other.socket.setsockopt(1, 7, 2**14)  # SOL_SOCKET, SO_SNDBUF
        other.socket.sendall(bytes(2**20))
        large += 1
    except OSError:
        pass
answers(alive, large > 0, broker.ask('job')['version'])
`),
    ).toEqual([1, true, 1])
  })

  it('that never reads its replies, or leaves in the middle, does not stop the broker', async () => {
    expect(
      await attack(`
ask = json.dumps({'ask': 'parts', 'input': 'people', 'from': 0, 'size': 1000}).encode()
frame = struct.pack('>I', len(ask)) + ask
for number in range(20):
    deaf = Broker()
    deaf.socket.settimeout(0.2)
    try:
        while True:
            deaf.socket.sendall(frame * 1000)
    except OSError:
        pass
    if number % 2 == 0:
        deaf.socket.close()
    else:
        os.dup(deaf.socket.fileno())  # and stays
answers(broker.ask('job')['version'])
`),
    ).toEqual([1])
  })
})

describe.runIf(canRun)('the key broker', () => {
  it('is never named by a job', async () => {
    const scene = await FilesScene.make(world, [UPPER_CASE])
    const job = { ...scene.job, environment: { CLOISTER_KEY_BROKER: '/tmp/mine.sock' } }
    await scene.allow(job)
    expect(await scene.launch({ job })).toMatchObject({ failure: { code: 'JOB' } })
  })

  it('lets in nobody but the program’s user', async () => {
    const scene = await FilesScene.make(world, [
      `${PRELUDE}
broker.commit(result, [])
seen = os.stat(os.environ['CLOISTER_KEY_BROKER'])
print(json.dumps([oct(seen.st_mode & 0o777), seen.st_uid == os.getuid()]))
`,
    ])
    const outcome = await scene.launch()
    expect(outcome).toMatchObject({ outcome: 'completed' })
    expect(JSON.parse(outcome.stdout)).toEqual(['0o600', true])
  })
})
