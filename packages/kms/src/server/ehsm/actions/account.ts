import { administer } from '../acts.ts'
import { integer, optional } from '../wire/fields.ts'
import { refused } from '../wire/refusal.ts'
import { action } from './action.ts'

const USUAL_OVERLAP_SECONDS = 3600

/** Thirty days. */
const MAX_OVERLAP_SECONDS = 30 * 24 * 60 * 60

/**
 * Gives the account another API key; the one that signs this is taken for the overlap and no longer.
 * Until the new one has signed something this may be asked again, as its answer may have been lost.
 * No action of eHSM's: its accounts have one API key for good.
 */
export const rotateApiKey = action(
  { message: 'successful' },
  { overlap: optional(integer(0, MAX_OVERLAP_SECONDS)) },
  async ({ account, at, by, ehsm }, { overlap = USUAL_OVERLAP_SECONDS }) => {
    const { appId } = account
    const act = { appId, action: 'RotateApiKey', at }
    if (by === 'previous-key' && !account.isUnused) throw replaced()
    return await administer(ehsm.service, act, async tx => {
      const previousEndsAt = new Date(at.getTime() + overlap * 1000)
      const apikey = await ehsm.accounts.rotate(tx, account, by, previousEndsAt)
      if (apikey === undefined) throw replaced()
      return [
        { apikey, previousEndsAt: previousEndsAt.getTime() },
        {
          appId,
          previousEndsAt: previousEndsAt.toISOString(),
          isAskedAgain: by === 'previous-key',
        },
      ]
    })
  },
)

/** Else whoever found an old key could go on with it for good. */
const replaced = () => refused('the API key was replaced; sign with the present one', 'API_KEY')
