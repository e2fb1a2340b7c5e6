/** Why the service did not answer with a picture, in its words and in plain ones. */

const PLAIN = /** @type {Record<number, string>} */ ({
  0: "The service could not be reached.",
  400: "This file is broken or cut short.",
  401: "This service asks for a key.",
  403: "This key may not be used for that.",
  404: "This service does not do that.",
  406: "This kind of file is not made here.",
  413: "This photograph is larger than the service takes.",
  415: "This is no kind of picture that the service reads.",
  422: "The service could not use what was sent.",
  429: "These were many photographs in a short time.",
  500: "The service failed on this photograph.",
  503: "The service is busy, or its models are not ready yet.",
  504: "This took longer than the service allows.",
});

export class Refusal extends Error {
  /**
   * @param {number} status of HTTP; 0 where there was no answer
   * @param {string} code for programs; "page" where the fault is not the service's
   * @param {string} message the service's own sentence
   * @param {number | null} retryAfter seconds after which the service wants to be asked again
   */
  constructor(status, code, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** One plain sentence. */
  get plain() {
    if (this.code === "page") return "This page could not do that.";
    return PLAIN[this.status] ?? `The service answered with ${this.status}.`;
  }
}

/** @param {unknown} error @returns {Refusal} itself, or one for what went wrong on the page */
export function asRefusal(error) {
  if (error instanceof Refusal) return error;
  return new Refusal(0, "page", error instanceof Error ? error.message : String(error));
}

/**
 * @param {number} status
 * @param {string} body the answer's text
 * @param {string | null} retryAfter the header, in seconds
 * @returns {Refusal} of the service's JSON `{"error": {"code", "message"}}`, or of whatever a proxy said instead
 */
export function refusalOf(status, body, retryAfter) {
  const seconds = retryAfter !== null && /^\d+$/.test(retryAfter.trim()) ? Number(retryAfter) : null;
  try {
    const { code, message } = JSON.parse(body).error;
    return new Refusal(status, String(code), String(message), seconds);
  } catch {
    return new Refusal(status, "unknown", "", seconds);
  }
}
